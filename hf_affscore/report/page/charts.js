/** What each chart shows, as options of ECharts. Colours are those of the page, in light and in dark. */

const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'pin', 'arrow', 'roundRect'];
const GRID = { left: 52, right: 14, top: 34, bottom: 44 };

/** The present colours of the page. */
function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const text = { fontSize: 12, color: colour('ink') };
  return {
    colour,
    text,
    base: {
      animation: false,
      color: [0, 1, 2, 3, 4, 5, 6].map((i) => colour(`c${i}`)),
      textStyle: text,
      legend: { type: 'scroll', top: 0, textStyle: text, pageTextStyle: text, formatter: (name) => shortened(name, 44) },
    },
    axis: {
      nameLocation: 'middle', nameTextStyle: text, axisLabel: { color: colour('ink') },
      axisLine: { lineStyle: { color: colour('border') } }, splitLine: { lineStyle: { color: colour('line') } },
    },
  };
}

/** A name of at most `most` letters: its middle goes, since names of one family differ at their ends. */
function shortened(name, most) {
  if (name.length <= most) return name;
  const end = Math.ceil((most - 1) * 0.6);
  return `${name.slice(0, most - 1 - end)}…${name.slice(-end)}`;
}

/** Names of at most `most` letters that stay apart: owners go first, then middles, and last what a family shares. */
function labels(names, most) {
  const last = names.map((name) => name.split('/').pop());
  const base = new Set(last).size === new Set(names).size ? last : names;
  const short = base.map((name) => shortened(name, most));
  return short.map((label, i) => {
    const family = base.filter((_, j) => short[j] === label);
    if (new Set(family).size === 1) return label;
    let start = 0;
    while (family.every((name) => name[start] === family[0][start])) start += 1;
    start = Math.max(start - 2, 0);
    return `${base[i].slice(0, 3)}…${base[i].slice(start, start + most - 5)}${start + most - 5 < base[i].length ? '…' : ''}`;
  });
}

function scoreAxis(look) {
  return {
    ...look.axis, type: 'value', name: 'affinity score (1 = affine)', min: 0, max: 1, nameGap: 34,
  };
}

/** An axis that counts from 0 to `last`. */
function stepAxis(look, name, last) {
  return {
    ...look.axis, type: 'value', name, min: 0, max: Math.max(last, 1), minInterval: 1, nameGap: 28,
    splitLine: { show: false }, axisLabel: { ...look.axis.axisLabel, showMaxLabel: false },
  };
}

/** One symbol for each kind of activation in the report. */
function symbols(networks) {
  const kinds = [...new Set(networks.flatMap((network) => network.rows.activation))];
  return new Map(kinds.map((kind, i) => [kind, SYMBOLS[i % SYMBOLS.length]]));
}

/** The symbol of one activation: hollow where its score is no evidence. */
function symbol(network, row, kinds) {
  const name = kinds.get(network.rows.activation[row]);
  return network.rows.evidence[row] === 'ok' ? name : `empty${name[0].toUpperCase()}${name.slice(1)}`;
}

/** What is known about one activation, as lines of text. */
function layer(network, row, statistics) {
  const { module, activation, call, evidence, reason } = network.rows;
  const repeat = call[row] ? ` #${call[row]}` : '';
  const lines = [`${row}: ${module[row] || '(root)'}${repeat} · ${activation[row]}`];
  const { affinity_score: score, affinity_score_low: low, affinity_score_high: high, ...others } = network.statistics;
  const known = low !== undefined && low[row] !== null && high[row] !== null;
  const interval = known ? ` (95 %: ${low[row].toFixed(4)} to ${high[row].toFixed(4)})` : '';
  lines.push(score[row] === null
    ? `no score: ${reason[row] || 'undefined'}` : `affinity score ${score[row].toFixed(4)}${interval}`);
  if (score[row] !== null && evidence[row] !== 'ok') {
    lines.push(`no evidence: ${reason[row] || evidence[row].replaceAll('_', ' ')}`);
  }
  const values = Object.entries(statistics ? others : {});
  if (values.length) {
    lines.push(values.map(([name, column]) => `${name.replaceAll('_', ' ')} ${shown(column[row])}`).join(', '));
  }
  const title = element('strong', { textContent: network.network });
  return element('div', {}, title, ...lines.map((line) => element('div', { textContent: line })));
}

/** The difference of two scores, as a line of text; none where one is missing. */
function apart(networks, rows) {
  const [first, second] = networks.map((network, side) => network.statistics.affinity_score[rows[side]]);
  if (networks.length !== 2 || typeof first !== 'number' || typeof second !== 'number') return [];
  const change = second - first;
  const words = `${change < 0 ? '' : '+'}${change.toFixed(4)}`;
  return [element('div', { textContent: `Difference: ${words} (${networks[1].network} less ${networks[0].network})` })];
}

/** A line that follows the pointer. What it meets is told below the chart, where it covers nothing. */
const POINTER = { trigger: 'axis', showContent: false, axisPointer: { type: 'line', snap: true } };

/** The points of a signature, with a gap where the kind of activation changes: no line joins two kinds. */
function points(network, kinds, position) {
  const { activation } = network.rows;
  return network.statistics.affinity_score.flatMap((score, row) => {
    const point = { value: [position(row), score], symbol: symbol(network, row, kinds), row };
    return row && activation[row] !== activation[row - 1] ? [{ value: [position(row), null] }, point] : [point];
  });
}

/** Draws a line from the second to the third number of a point, at the first. */
function upright(style) {
  return (_, api) => {
    const [x1, y1] = api.coord([api.value(0), api.value(1)]);
    const [x2, y2] = api.coord([api.value(0), api.value(2)]);
    return { type: 'line', shape: { x1, y1, x2, y2 }, style };
  };
}

/** The 95 % intervals of a signature, as lines behind its points. */
function intervals(network, colour, position) {
  const { affinity_score_low: low, affinity_score_high: high } = network.statistics;
  if (low === undefined) return [];
  return [{
    type: 'custom',
    data: low.flatMap((value, row) => (value === null ? [] : [[position(row), value, high[row]]])),
    silent: true,
    tooltip: { show: false },
    z: 1,
    renderItem: upright({ stroke: colour, lineWidth: 2, opacity: 0.5 }),
  }];
}

function signatureOption(networks, kinds) {
  const look = theme();
  const depth = Math.max(...networks.map((network) => network.rows.module.length));
  return {
    ...look.base,
    grid: GRID,
    tooltip: POINTER,
    xAxis: stepAxis(look, 'activation, in execution order', depth - 1),
    yAxis: scoreAxis(look),
    series: [
      ...networks.map((network) => ({
        type: 'line',
        name: network.network,
        symbolSize: network.rows.module.length > 80 ? 5 : 8,
        showAllSymbol: true,
        z: 2,
        lineStyle: { width: networks.length > 3 ? 1 : 1.5 },
        data: points(network, kinds, (row) => row),
      })),
      ...networks.slice(0, 2).flatMap((network, i) => intervals(network, look.base.color[i], (row) => row)),
    ],
  };
}

/** Two signatures over the steps of their warping path; a grey bar is what a step adds to the distance. */
function pairOption(pair, path, kinds) {
  const look = theme();
  const scores = pair.map((network) => network.statistics.affinity_score);
  const line = (network, side) => ({
    type: 'line',
    name: network.network,
    showAllSymbol: true,
    symbolSize: 7,
    data: path.map((match, step) => {
      const row = match[side];
      return { value: [step, scores[side][row]], symbol: symbol(network, row, kinds) };
    }),
  });
  const links = path.map((match, step) => [step, scores[0][match[0]], scores[1][match[1]]]);
  return {
    ...look.base,
    grid: GRID,
    tooltip: POINTER,
    xAxis: stepAxis(look, 'step of the warping path', path.length - 1),
    yAxis: scoreAxis(look),
    series: [
      line(pair[0], 0),
      line(pair[1], 1),
      {
        type: 'custom',
        data: links,
        silent: true,
        tooltip: { show: false },
        z: 0,
        renderItem: upright({ stroke: look.colour('border'), lineWidth: 1.5 }),
      },
    ],
  };
}

/** The distance matrix in leaf order under its dendrogram. */
function distanceOption(data, width) {
  const look = theme();
  const order = data.leaf_order;
  const room = Math.min(230, width * 0.32); // for names, on the left and below
  const size = order.length > 60 ? 9 : 11;
  const tree = { left: room, right: 20, top: 8, height: 96 };
  const heat = { left: room, right: 20, top: 116, bottom: room + 64 };
  const names = {
    type: 'category',
    gridIndex: 1,
    data: labels(order.map((i) => data.networks[i].network), Math.floor((room - 14) / (0.58 * size))),
    axisTick: { show: false },
    axisLine: { show: false },
    axisLabel: { fontSize: size, color: look.colour('ink') },
  };
  return {
    ...look.base,
    legend: { show: false },
    tooltip: {
      confine: true,
      formatter: ({ value: [x, y] }) => element('div', { className: 'tip' }, cellText(data, x, y)),
      backgroundColor: look.colour('ground'),
      textStyle: look.text,
    },
    grid: [tree, heat],
    xAxis: [
      { type: 'value', gridIndex: 0, min: -0.5, max: order.length - 0.5, show: false },
      { ...names, axisLabel: { ...names.axisLabel, rotate: 90 } },
    ],
    yAxis: [{ type: 'value', gridIndex: 0, show: false }, { ...names, inverse: true }],
    visualMap: {
      seriesIndex: 0, min: 0, max: Math.max(...data.distances.flat(), 1e-9), precision: 2, calculable: true,
      orient: 'horizontal', left: 'center', bottom: 0, itemHeight: Math.min(200, width * 0.4),
      text: ['far', 'near'], textStyle: look.text,
      inRange: { color: ['near', 'halfway', 'far'].map(look.colour) },
    },
    series: [
      {
        type: 'heatmap',
        xAxisIndex: 1,
        yAxisIndex: 1,
        data: order.flatMap((a, y) => order.map((b, x) => [x, y, data.distances[a][b]])),
        emphasis: { itemStyle: { borderColor: look.colour('alarm'), borderWidth: 3 } },
      },
      ...data.tree.map(([xs, ys]) => ({
        type: 'line',
        data: xs.map((x, i) => [x, ys[i]]),
        showSymbol: false,
        silent: true,
        tooltip: { show: false },
        lineStyle: { color: look.colour('ink'), width: 1 },
      })),
    ],
  };
}

/** The two networks of a cell and their distance. */
function cellText(data, x, y) {
  const [a, b] = [data.leaf_order[y], data.leaf_order[x]];
  return `${data.networks[a].network} - ${data.networks[b].network}: ${data.distances[a][b].toFixed(3)}`;
}
