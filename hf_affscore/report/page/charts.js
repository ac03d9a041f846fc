/** What each chart shows, as options of ECharts. Colours are those of the page, in light and in dark. */

const SYMBOLS = ['circle', 'rect', 'triangle', 'diamond', 'roundRect', 'arrow', 'pin'];
const COLOURS = 7;
const GRID = { left: 52, right: 14, top: 12, bottom: 44 };

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
      color: Array.from({ length: COLOURS }, (_, i) => colour(`c${i}`)),
      textStyle: text,
      backgroundColor: colour('ground'),
      darkMode: matchMedia('(prefers-color-scheme: dark)').matches,
      legend: { show: false }, // the page says names outside the chart, where they have room
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

/** An axis that begins where its scores can be told apart, and says so. */
function scoreAxis(look, scores) {
  const lowest = Math.min(...scores.filter((score) => typeof score === 'number'));
  const min = [0.75, 0.5, 0.25].find((begin) => lowest >= begin) ?? 0;
  const name = min ? `affinity score (from ${min}; 1 = affine)` : 'affinity score (1 = affine)';
  return { ...look.axis, type: 'value', name, min, max: 1, interval: (1 - min) / 5, nameGap: 38 };
}

/** Depth of an activation: 0 for the first of a network, 1 for the last. */
function depthOf(row, count) {
  return count > 1 ? row / (count - 1) : 0.5;
}

/** Where the activations of networks are drawn: by number, or by depth where the networks have different numbers. */
class Places {
  constructor(networks) {
    const counts = networks.map((network) => network.rows.module.length);
    this.same = new Set(counts).size < 2;
    this.last = Math.max(...counts) - 1;
  }

  of(network) {
    return (row) => (this.same ? row : depthOf(row, network.rows.module.length));
  }

  /** The activation of a network at a place of the axis. */
  row(network, place) {
    const last = network.rows.module.length - 1;
    return Math.min(Math.round(this.same ? place : place * last), last);
  }

  /** Depths from 0 to 1 on the axis. */
  depth(at) {
    return this.same ? at * this.last : at;
  }

  axis(look) {
    if (this.same) return stepAxis(look, 'activation, in execution order', this.last);
    return {
      ...stepAxis(look, 'depth: 0 is the first activation, 1 the last', 1),
      minInterval: 0, axisLabel: look.axis.axisLabel,
    };
  }
}

/** What is usual at each depth: a band and its median, behind everything. */
function usual(look, reference, places) {
  const line = (scores) => reference.depth.map((at, i) => [places.depth(at), scores[i]]);
  const shapes = [[...line(reference.lowest), ...line(reference.highest).reverse()], line(reference.median)];
  return {
    type: 'custom', name: 'usual', data: [[0, 0]], silent: true, tooltip: { show: false }, z: 0, clip: true,
    renderItem: (_, api) => {
      const [band, median] = shapes.map((points) => points.map((point) => api.coord(point)));
      return {
        type: 'group',
        children: [
          { type: 'polygon', shape: { points: band }, style: { fill: look.colour('usual') } },
          { type: 'polyline', shape: { points: median }, style: { stroke: look.colour('usual-median'), fill: 'none' } },
        ],
      };
    },
  };
}

/** An axis that counts from 0 to `last`. */
function stepAxis(look, name, last) {
  return {
    ...look.axis, type: 'value', name, min: 0, max: Math.max(last, 1), minInterval: 1, nameGap: 28,
    splitLine: { show: false }, axisLabel: { ...look.axis.axisLabel, showMaxLabel: false },
  };
}

/** The values of a list, the most frequent first. */
function byFrequency(values) {
  const counts = new Map();
  values.forEach((value) => counts.set(value, (counts.get(value) ?? 0) + 1));
  return [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
}

/** One symbol for each kind of activation in the report. */
function symbols(networks) {
  const kinds = byFrequency(networks.flatMap((network) => network.rows.activation));
  return new Map(kinds.map((kind, i) => [kind, SYMBOLS[i % SYMBOLS.length]]));
}

/** The names of the page's colours for families; the smallest share one where there are more families than colours. */
function familyColours(networks) {
  const families = byFrequency(networks.map((network) => network.family));
  return new Map(families.map((family, i) => [family, i < COLOURS ? `c${i}` : 'quiet']));
}

/** `first` with a share `part` of itself, the rest of `second`; both as `#rrggbb`. */
function mixed(first, second, part) {
  const channel = (colour, i) => parseInt(colour.slice(i, i + 2), 16);
  return `#${[1, 3, 5].map((i) => Math.round(channel(first, i) * part + channel(second, i) * (1 - part))
    .toString(16).padStart(2, '0')).join('')}`;
}

/**
 * The colours of chosen networks: those of their families, where further networks of a family have shades of it;
 * one for each network where all are of one family.
 */
function networkColours(networks, families, look) {
  if (families.size < 2) return networks.map((_, i) => look.base.color[i % COLOURS]);
  const names = networks.map((network) => families.get(network.family));
  return names.map((name, i) => mixed(look.colour(name), look.colour(name === 'c6' ? 'border' : 'ink'),
    1 / (1 + names.slice(0, i).filter((other) => other === name).length)));
}

/** The mark of one activation: hollow where its score is no evidence. */
function marked(network, row, kinds, look, borderColor) {
  const mark = { symbol: kinds.get(network.rows.activation[row]) };
  if (network.rows.evidence[row] === 'ok') return mark;
  return { ...mark, itemStyle: { color: look.colour('ground'), borderColor, borderWidth: 2 } };
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

/** The scores of a network as points; no line joins them, since they are of different activations. */
function points(network, kinds, look, color, rows, position, symbolSize) {
  return {
    type: 'scatter',
    name: network.network,
    color,
    itemStyle: { opacity: 1 },
    symbolSize,
    data: rows.map((row, place) => ({
      value: [position(place), network.statistics.affinity_score[row]], ...marked(network, row, kinds, look, color),
    })),
  };
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

/** Signatures of networks, and what is usual if it is given. */
function signatureOption(networks, kinds, families, places, reference) {
  const look = theme();
  const colours = networkColours(networks, families, look);
  const drawn = networks.slice(0, 2).flatMap((network) => network.statistics.affinity_score_low ?? []);
  const scores = [...networks.flatMap((network) => network.statistics.affinity_score), ...drawn];
  return {
    ...look.base,
    grid: GRID,
    tooltip: POINTER,
    xAxis: places.axis(look),
    yAxis: scoreAxis(look, [...scores, ...(reference?.lowest ?? [])]),
    series: [
      ...networks.map((network, i) => points(network, kinds, look, colours[i],
        network.rows.module.map((_, row) => row), places.of(network), network.rows.module.length > 80 ? 5 : 8)),
      ...networks.slice(0, 2).flatMap((network, i) => intervals(network, colours[i], places.of(network))),
      ...(reference ? [usual(look, reference, places)] : []),
    ],
  };
}

/** Two signatures over the steps of their warping path; a grey bar is what a step adds to the distance. */
function pairOption(pair, path, kinds, families) {
  const look = theme();
  const colours = networkColours(pair, families, look);
  const scores = pair.map((network) => network.statistics.affinity_score);
  const links = path.map((match, step) => [step, scores[0][match[0]], scores[1][match[1]]]);
  return {
    ...look.base,
    grid: GRID,
    tooltip: POINTER,
    xAxis: stepAxis(look, 'step of the warping path', path.length - 1),
    yAxis: scoreAxis(look, scores.flat()),
    series: [
      ...pair.map((network, side) =>
        points(network, kinds, look, colours[side], path.map((match) => match[side]), (step) => step, 7)),
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

/** Pixels of the distance matrix: its rows, what is above (the dendrogram) and below (the key of colours). */
const ABOVE = 112;
const BELOW = 64;
const rowHeight = (count) => Math.min(Math.max(480 / count, 13), 56);
const distanceHeight = (count) => ABOVE + count * rowHeight(count) + BELOW;

/** Pixels of a cell that has room for its number. */
const NUMBER = { width: 34, height: 16 };

/** Black or white, whichever is more readable on a colour. */
function readableOn(colour) {
  const [red, green, blue] = echarts.color.parse(colour);
  return 0.299 * red + 0.587 * green + 0.114 * blue > 128 ? '#000000' : '#ffffff';
}

/** The distance matrix in leaf order under its dendrogram; names stand once, with the colour of their family. */
function distanceOption(data, width) {
  const look = theme();
  const order = data.leaf_order;
  const room = Math.min(300, width * 0.38); // for names
  const size = order.length > 40 ? 10 : 12;
  const wide = Math.min(width - room - 20, Math.max(360, 3.5 * order.length * rowHeight(order.length)));
  const tree = { left: room, width: wide, top: 8, height: 96 };
  const heat = { left: room, width: wide, top: ABOVE, height: order.length * rowHeight(order.length) };
  const short = labels(order.map((i) => data.networks[i].network), Math.floor((room - 32) / (0.58 * size)));
  const family = familyColours(data.networks);
  const colours = order.map((i) => family.get(data.networks[i].family));
  const names = {
    type: 'category',
    gridIndex: 1,
    data: order.map((_, i) => i),
    axisTick: { show: false },
    axisLine: { show: false },
  };
  const label = {
    interval: 0,
    fontSize: size,
    color: look.colour('ink'),
    formatter: (i) => (family.size > 1 ? `${short[i]} {${colours[i]}|■}` : short[i]),
    rich: Object.fromEntries(colours.map((name) => [name, { color: look.colour(name), fontSize: size + 2 }])),
  };
  return {
    ...look.base,
    tooltip: {
      confine: true,
      formatter: ({ value: [x, y] }) => element('div', { className: 'tip' }, cellText(data, x, y)),
      backgroundColor: look.colour('ground'),
      textStyle: look.text,
    },
    grid: [tree, heat],
    xAxis: [
      { type: 'value', gridIndex: 0, min: -0.5, max: order.length - 0.5, show: false },
      { ...names, axisLabel: { show: false } },
    ],
    yAxis: [{ type: 'value', gridIndex: 0, show: false }, { ...names, inverse: true, axisLabel: label }],
    visualMap: {
      seriesIndex: 0, dimension: 2, min: 0, max: Math.max(...data.distances.flat(), 1e-9), precision: 2, calculable: true,
      orient: 'horizontal', left: room, bottom: 0, itemHeight: Math.min(200, width * 0.4),
      text: ['far', 'near'], textStyle: look.text,
      inRange: { color: ['near', 'halfway', 'far'].map(look.colour) },
    },
    series: [
      {
        // Not `heatmap`, which ECharts draws piece by piece: of 100 networks a busy machine showed a part for seconds.
        type: 'custom',
        progressive: 0,
        encode: { x: 0, y: 1, value: 2 },
        renderItem: (_, api) => {
          const [x, y] = api.coord([api.value(0), api.value(1)]);
          const [width, height] = api.size([1, 1]).map((side) => side + 0.5);
          const fill = api.visual('color');
          const rect = {
            type: 'rect',
            shape: { x: x - width / 2, y: y - height / 2, width, height },
            style: { fill },
            emphasis: { style: { stroke: look.colour('alarm'), lineWidth: 3 } },
          };
          if (width < NUMBER.width || height < NUMBER.height) return rect;
          const style = { text: api.value(2).toFixed(2), fill: readableOn(fill), fontSize: 12 };
          return { ...rect, textContent: { style }, textConfig: { position: 'inside' } };
        },
        xAxisIndex: 1,
        yAxisIndex: 1,
        data: order.flatMap((a, y) => order.map((b, x) => [x, y, data.distances[a][b]])),
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
