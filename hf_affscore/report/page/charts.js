/** What each chart shows, as options of ECharts. Tooltips are elements with text, never HTML. */

/* Okabe and Ito's colours, which colour blindness keeps apart. */
const COLOURS = ['#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000'];
const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'pin', 'arrow', 'roundRect'];
const FONT = { fontSize: 12, color: '#1b1b1b' };
const SCORE_AXIS = {
  type: 'value', name: 'affinity score', min: 0, max: 1, nameLocation: 'middle', nameGap: 34, nameTextStyle: FONT,
};
const GRID = { left: 52, right: 14, top: 34, bottom: 44 };

/** An axis that counts from 0 to `last`. */
function stepAxis(name, last) {
  return {
    type: 'value', name, min: 0, max: Math.max(last, 1), minInterval: 1, nameLocation: 'middle', nameGap: 28,
    nameTextStyle: FONT, splitLine: { show: false }, axisLabel: { showMaxLabel: false },
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
function tip(network, row, statistics) {
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
  for (const [name, values] of Object.entries(statistics ? others : {})) {
    lines.push(`${name.replaceAll('_', ' ')} ${shown(values[row])}`);
  }
  const title = element('strong', { textContent: network.network });
  return element('div', {}, title, ...lines.map((line) => element('div', { textContent: line })));
}

function tooltip(content) {
  return {
    trigger: 'axis',
    confine: true,
    formatter: (hovered) => element('div', { className: 'tip' }, ...content(hovered)),
  };
}

function signatureOption(networks, kinds) {
  return {
    animation: false,
    color: COLOURS,
    grid: GRID,
    legend: { type: 'scroll', top: 0 },
    tooltip: tooltip((hovered) => hovered.slice(0, 4).map((one) =>
      tip(networks[one.seriesIndex], one.dataIndex, hovered.length <= 2))),
    xAxis: stepAxis('activation, in execution order', Math.max(...networks.map((n) => n.rows.module.length)) - 1),
    yAxis: SCORE_AXIS,
    series: networks.map((network) => ({
      type: 'line',
      name: network.network,
      symbolSize: network.rows.module.length > 80 ? 5 : 7,
      showAllSymbol: true,
      data: network.statistics.affinity_score.map((score, i) =>
        ({ value: [i, score], symbol: symbol(network, i, kinds) })),
    })),
  };
}

/** Two signatures over the steps of their warping path; a grey bar is what a step adds to the distance. */
function pairOption(pair, path, kinds) {
  const scores = pair.map((network) => network.statistics.affinity_score);
  const line = (network, side) => ({
    type: 'line',
    name: network.network,
    showAllSymbol: true,
    data: path.map((match, step) => {
      const row = match[side];
      return { value: [step, scores[side][row]], symbol: symbol(network, row, kinds) };
    }),
  });
  const links = path.map((match, step) => [step, scores[0][match[0]], scores[1][match[1]]]);
  return {
    animation: false,
    color: COLOURS,
    grid: GRID,
    legend: { type: 'scroll', top: 0 },
    tooltip: tooltip(([{ dataIndex }]) => pair.map((network, side) => tip(network, path[dataIndex][side], true))),
    xAxis: stepAxis('step of the warping path', path.length - 1),
    yAxis: SCORE_AXIS,
    series: [
      line(pair[0], 0),
      line(pair[1], 1),
      {
        type: 'custom',
        data: links,
        silent: true,
        tooltip: { show: false },
        z: 0,
        renderItem: (_, api) => {
          const [x1, y1] = api.coord([api.value(0), api.value(1)]);
          const [x2, y2] = api.coord([api.value(0), api.value(2)]);
          return { type: 'line', shape: { x1, y1, x2, y2 }, style: { stroke: '#999', lineWidth: 1.5 } };
        },
      },
    ],
  };
}

/** The distance matrix in leaf order under its dendrogram. */
function distanceOption(data, width) {
  const order = data.leaf_order;
  const room = Math.min(170, width * 0.28); // for names, on the left and below
  const tree = { left: room, right: 20, top: 8, height: 96 };
  const heat = { left: room, right: 20, top: 116, bottom: room + 64 };
  const names = {
    type: 'category',
    gridIndex: 1,
    data: order.map((i) => data.networks[i].network),
    axisTick: { show: false },
    axisLabel: { width: room - 14, overflow: 'truncate', fontSize: order.length > 60 ? 9 : 11, color: '#1b1b1b' },
  };
  return {
    animation: false,
    tooltip: {
      confine: true,
      formatter: ({ value: [x, y] }) => element('div', { className: 'tip' }, cellText(data, x, y)),
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
      inRange: { color: ['#fde737', '#bcaf6f', '#7c7b78', '#414d6b', '#00224e'] },
    },
    series: [
      {
        type: 'heatmap',
        xAxisIndex: 1,
        yAxisIndex: 1,
        data: order.flatMap((a, y) => order.map((b, x) => [x, y, data.distances[a][b]])),
        emphasis: { itemStyle: { borderColor: '#d55e00', borderWidth: 3 } },
      },
      ...data.tree.map(([xs, ys]) => ({
        type: 'line',
        data: xs.map((x, i) => [x, ys[i]]),
        showSymbol: false,
        silent: true,
        tooltip: { show: false },
        lineStyle: { color: '#1b1b1b', width: 1 },
      })),
    ],
  };
}

/** The two networks of a cell and their distance. */
function cellText(data, x, y) {
  const [a, b] = [data.leaf_order[y], data.leaf_order[x]];
  return `${data.networks[a].network} - ${data.networks[b].network}: ${data.distances[a][b].toFixed(3)}`;
}
