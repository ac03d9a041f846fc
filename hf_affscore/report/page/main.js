/** Joins the table and the charts: what is selected in one place is shown in all. */
(() => {
  const data = JSON.parse(document.getElementById('data').textContent);
  const kinds = symbols(data.networks);
  const families = familyColours(data.networks);
  const at = (id) => document.getElementById(id);
  const charts = {};
  const LISTED = 12; // networks that the key of a chart names

  function draw(id, option) {
    charts[id] ??= echarts.init(at(id));
    charts[id].setOption(option, { notMerge: true });
    return charts[id];
  }

  /** Draw what depends on the selection. */
  function showSelection(positions) {
    const networks = positions.map((i) => data.networks[i]);
    const places = new Places(networks);
    at('signatures-note').textContent = networks.length
      ? 'Points are activations, bars their 95 % intervals.'
      : 'Select networks in the table to draw their signatures.';
    showKey(networks);
    const reference = usualBehind(networks);
    at('verdicts').replaceChildren(...networks.map((network) => element('p', { className: 'note' },
      element('strong', { textContent: network.network }), ` ${network.verdict.join(' ')}`)));
    const chart = draw('signatures', signatureOption(networks, kinds, families, places, reference));
    tell(chart, 'signatures-detail', (place) => [
      ...networks.slice(0, 4).map((network) => layer(network, places.row(network, place), networks.length <= 2)),
      ...(networks.length > 4 ? [element('div', { textContent: `and ${networks.length - 4} more networks` })] : []),
      ...apart(networks, networks.map((network) => places.row(network, place))),
    ]);
    showPair(networks);
    showNearest(positions);
  }

  /** The reference, if it is asked for and the scores of all networks are the same quantities; and what it is. */
  function usualBehind(networks) {
    const other = networks.find((network) => network.unlike_reference.length);
    const asked = at('usual').checked && networks.length > 0;
    at('usual-note').textContent = !asked ? '' : !other ? data.reference.caption
      : `What is usual cannot be shown behind ${other.network}: its ${other.unlike_reference.join('; its ')}.`;
    return asked && !other ? data.reference : null;
  }

  /** Which colour is which network. */
  const named = (networks) => {
    const colours = networkColours(networks, families, theme());
    return [
      ...networks.slice(0, LISTED).map((network, i) => element('li', {}, square(colours[i]), network.network)),
      ...(networks.length > LISTED ? [element('li', { textContent: `and ${networks.length - LISTED} more` })] : []),
    ];
  };

  function square(colour) {
    const made = mark('rect');
    made.style.fill = made.style.stroke = colour;
    return made;
  }

  /** What the marks of the chosen networks mean. */
  function showKey(networks) {
    at('who').replaceChildren(...named(networks));
    const used = new Set(networks.flatMap((network) => network.rows.activation));
    const doubtful = networks.some((network) => network.rows.evidence.some((word) => word !== 'ok'));
    at('key').replaceChildren(
      ...[...used].map((kind) => element('li', {}, mark(kinds.get(kind)), kind)),
      ...(doubtful ? [element('li', {}, mark('circle', 'hollow'), 'hollow: no evidence')] : []));
  }

  /** Below a chart, what its pointer meets. */
  function tell(chart, id, content) {
    at(id).replaceChildren(element('div', { textContent: 'Point at the chart, or touch it, for the figures of an activation.' }));
    chart.off('updateAxisPointer');
    chart.on('updateAxisPointer', ({ axesInfo }) => {
      const met = axesInfo.find((axis) => axis.axisDim === 'x');
      if (met) at(id).replaceChildren(...content(met.value));
    });
  }

  function showPair(networks) {
    at('pair').hidden = at('pair-detail').hidden = at('pair-who').hidden = networks.length !== 2;
    at('pair-who').replaceChildren(...named(networks));
    if (networks.length !== 2) {
      at('pair-note').textContent = `Select exactly two networks to align them; ${networks.length} selected.`;
      return;
    }
    const { path, distance } = warp(...networks.map((network) => network.statistics.affinity_score));
    const names = networks.map((network) => network.network).join(' and ');
    at('pair-note').textContent = `${names}: distance ${distance.toFixed(3)}, ${path.length} steps. Each step matches `
      + 'an activation of one with one of the other; grey bars are the differences.';
    const chart = draw('pair', pairOption(networks, path, kinds, families));
    chart.resize();
    tell(chart, 'pair-detail', (place) => {
      const match = path[Math.round(place)];
      return [...networks.map((network, side) => layer(network, match[side], true)), ...apart(networks, match)];
    });
  }

  /** Select two networks and bring their comparison into view. */
  function align(pair) {
    table.select(pair);
    const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
    at('two').scrollIntoView({ behavior: still ? 'auto' : 'smooth' });
  }

  /** For every selected network, buttons that align it with each of its nearest ones. */
  function showNearest(positions) {
    at('nearest').replaceChildren(...positions.slice(0, 2).map((position) => {
      const others = data.networks.map((_, i) => i).filter((i) => i !== position);
      others.sort((a, b) => data.distances[position][a] - data.distances[position][b]);
      const buttons = others.slice(0, 5).map((other) => {
        const label = `${data.networks[other].network} (${data.distances[position][other].toFixed(3)})`;
        const button = element('button', { type: 'button', textContent: label });
        button.addEventListener('click', () => align([position, other]));
        return button;
      });
      return element('p', { className: 'nearest' }, `Nearest to ${data.networks[position].network}: `, ...buttons);
    }));
  }

  /** The heat map, and a cursor over it for the keyboard. */
  function showDistances() {
    at('distances').style.height = `${distanceHeight(data.leaf_order.length)}px`;
    const coloured = families.size > 1 ? [...families].slice(0, COLOURS) : [];
    if (families.size > COLOURS) coloured.push(['other families', 'quiet']);
    at('families').replaceChildren(...coloured.map(([family, colour]) => element('li', {}, square(`var(--${colour})`), family)));
    const chart = draw('distances', distanceOption(data, at('distances').clientWidth));
    const size = data.leaf_order.length;
    let [x, y] = [0, 0];
    const choose = () => { if (x !== y) align([data.leaf_order[y], data.leaf_order[x]]); };
    chart.on('click', { seriesIndex: 0 }, ({ value }) => { [x, y] = value; choose(); });
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    at('distances').addEventListener('keydown', (event) => {
      if (event.key === 'Enter') { choose(); return; }
      if (!(event.key in moves)) return;
      event.preventDefault();
      chart.dispatchAction({ type: 'downplay', seriesIndex: 0, dataIndex: y * size + x });
      x = Math.min(Math.max(x + moves[event.key][0], 0), size - 1);
      y = Math.min(Math.max(y + moves[event.key][1], 0), size - 1);
      chart.dispatchAction({ type: 'highlight', seriesIndex: 0, dataIndex: y * size + x });
      chart.dispatchAction({ type: 'showTip', seriesIndex: 0, dataIndex: y * size + x });
      at('cell').textContent = cellText(data, x, y);
    });
  }

  function showCorrelations() {
    const lines = Object.entries(data.correlations);
    at('correlations').hidden = !lines.length;
    const row = (tag, texts) => element('tr', {}, ...texts.map((text, i) =>
      element(tag, { textContent: text, className: i ? '' : 'name' })));
    const figures = ({ mean, std, networks }) => [shown(mean), shown(std), shown(networks, true)];
    at('correlation-table').append(
      element('thead', {}, row('th', ['statistic', 'mean', 'standard deviation', 'networks'])),
      element('tbody', {}, ...lines.map(([name, line]) => row('td', [name.replaceAll('_', ' '), ...figures(line)]))));
  }

  /** The activation of a change; both where they differ. */
  const activationOf = (line) => [...new Set([line.activation, line.second_activation])].join(' → ');

  /** The difference of two networks of one architecture, as Python tested it. */
  function showChange({ first, second, changes, verdict }) {
    at('change').hidden = false;
    at('change-note').textContent = `From A, ${first}, to B, ${second} (B - A). ${verdict.join(' ')}`;
    const row = (tag, texts) => element('tr', {}, ...texts.map((text, i) =>
      element(tag, { textContent: text, className: i === 1 ? 'name' : '' })));
    const number = (value, places) => (value === null ? '-' : value.toFixed(places));
    at('change-table').append(
      element('thead', {}, row('th', ['#', 'activation', 'A', 'B', 'change', 'standard error', 'p', 'finding'])),
      element('tbody', {}, ...changes.map((line) => row('td', [
        line.index, `${line.module}${line.call ? ` #${line.call}` : ''} · ${activationOf(line)}`,
        number(line.first, 4), number(line.second, 4), number(line.change, 5), number(line.stderr, 5),
        line.p_value === null ? '-' : line.p_value.toPrecision(1),
        line.untested ?? (line.significant ? 'changed' : 'may be noise')]))));
  }

  /** The columns of the table in words. */
  function showColumns() {
    at('explained').append(...table.columns.filter((column) => column in COLUMNS).flatMap((column) => [
      element('dt', { textContent: column.replaceAll('_', ' ') }), element('dd', { textContent: COLUMNS[column] })]));
  }

  function download(name, type, text) {
    const link = element('a', { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  function csv() {
    const columns = ['network', ...data.columns];
    const quote = (value) => (value === null ? '' : `"${String(value).replaceAll('"', '""')}"`);
    return [columns, ...data.networks.map((network) => columns.map((column) => network[column]))]
      .map((line) => line.map(quote).join(',')).join('\r\n');
  }

  const count = data.networks.length;
  at('about').textContent = `${count} ${count === 1 ? 'network' : 'networks'} on ${data.images.join('; ')}.`;
  document.querySelectorAll('.warnings').forEach((place) =>
    place.append(...data.warnings.map((text) => element('p', { className: 'warning', textContent: text }))));
  const table = new NetworkTable(data, showSelection, align);
  showColumns();
  at('usual').addEventListener('change', () => showSelection(table.selected));
  at('clear').addEventListener('click', () => table.select([]));
  at('download-csv').addEventListener('click', () => download('networks.csv', 'text/csv', csv()));
  at('download-json').addEventListener('click', () =>
    download('signatures.json', 'application/json', at('data').textContent));
  at('pairs').hidden = count < 2;
  if (count > 1) showDistances();
  showCorrelations();
  if (data.difference) showChange(data.difference);
  table.select(data.leaf_order.slice(0, 2));
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    showSelection(table.selected);
    charts.distances?.setOption(distanceOption(data, at('distances').clientWidth));
  });
  /** Says that columns are out of sight, where they are. */
  function showSideways() {
    const box = at('table').parentElement;
    at('sideways').hidden = box.scrollWidth <= box.clientWidth;
  }

  showSideways();
  let width = window.innerWidth;
  window.addEventListener('resize', () => {
    Object.values(charts).forEach((chart) => chart.resize());
    showSideways();
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    charts.distances?.setOption(distanceOption(data, at('distances').clientWidth));
  });
})();
