/** The table of networks: search, sort, select. It knows the data and says what was selected, no more. */

/** An element with text and children; text is never read as HTML. */
function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  Object.assign(made, properties);
  made.append(...children);
  return made;
}

/** A value as a reader sees it; `whole` says that it counts something. */
function shown(value, whole = false) {
  if (value === null || value === undefined) return '-';
  if (Array.isArray(value)) return value.join(', ');
  if (typeof value !== 'number') return String(value);
  if (whole) return Math.abs(value) >= 10000 ? value.toLocaleString('en') : String(value);
  return value.toFixed(3);
}

/** A signature small enough for a line of the table. */
function spark(scores) {
  const namespace = 'http://www.w3.org/2000/svg';
  const svg = document.createElementNS(namespace, 'svg');
  svg.setAttribute('class', 'spark');
  svg.setAttribute('viewBox', '0 0 100 20');
  svg.setAttribute('preserveAspectRatio', 'none');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS(namespace, 'path');
  const points = scores.map((score, i) => (score === null ? ''
    : `M${(2 + 96 * depthOf(i, scores.length)).toFixed(1)} ${(19 - 18 * score).toFixed(1)}h0`));
  path.setAttribute('d', points.join(''));
  svg.append(path);
  return svg;
}

/** What the columns hold; what others add has no entry. */
const COLUMNS = {
  family: 'networks that belong together: as you named them, otherwise the architecture of the checkpoint',
  activations: 'calls of activation functions that have a score',
  evidence: 'scores that say something about the network; the figures on the right are of these',
  undefined: 'activations without a score, because of NaN or infinity',
  median: 'the middle score: 1 is affine, less is more non-linear',
  median_stderr: 'the standard error of the median, over draws of images',
  min: 'the score of the most non-linear activation',
  max: 'the score of the most nearly affine activation',
  mean: 'the mean score',
  std: 'how much the scores of the network differ (population standard deviation)',
  modes: 'scores around which the others gather',
  accuracy: 'as published with the checkpoint',
  num_parameters: 'number of parameters',
};

/** A mark of the charts in the key. */
function mark(symbol, className = '') {
  const namespace = 'http://www.w3.org/2000/svg';
  const shapes = {
    circle: 'M8 2a6 6 0 1 0 .01 0z',
    rect: 'M2.5 2.5h11v11h-11z',
    triangle: 'M8 2l6.5 12h-13z',
    diamond: 'M8 1l5.5 7L8 15 2.5 8z',
    pin: 'M8 15C3 9 3 8 3 6a5 5 0 0 1 10 0c0 2 0 3-5 9z',
    arrow: 'M8 1l5.5 14L8 11.5 2.5 15z',
    roundRect: 'M5 2.5h6a2.5 2.5 0 0 1 2.5 2.5v6a2.5 2.5 0 0 1-2.5 2.5H5A2.5 2.5 0 0 1 2.5 11V5A2.5 2.5 0 0 1 5 2.5z',
  };
  const svg = document.createElementNS(namespace, 'svg');
  svg.setAttribute('viewBox', '0 0 16 16');
  svg.setAttribute('aria-hidden', 'true');
  svg.setAttribute('class', className);
  const path = document.createElementNS(namespace, 'path');
  path.setAttribute('d', shapes[symbol]);
  svg.append(path);
  return svg;
}

/** A name that breaks between its words if it has to. */
function breakable(name) {
  return name.split(/(?<=[/._-])|(?<=[a-z])(?=[A-Z])/).flatMap((part) => [part, element('wbr')]);
}

/** Whether a column says something of any network: the table leaves out what is unknown, or not there, everywhere. */
function tells(networks, column) {
  return networks.some((network) => network[column] !== null && !(column === 'undefined' && network[column] === 0));
}

/** Lines of the table until all are asked for. */
const FIRST = 12;

class NetworkTable {
  /**
   * `onSelect` is told the positions of the selected networks; `onPair` takes the place of selecting where the reader
   * has just completed a pair.
   */
  constructor(data, onSelect, onPair) {
    this.data = data;
    this.onSelect = onSelect;
    this.onPair = onPair;
    this.selected = [];
    this.sorting = { column: null, down: false };
    this.short = true;
    this.columns = ['network', ...data.columns.filter((column) => tells(data.networks, column))];
    this.whole = new Set(data.columns.filter((column) =>
      data.networks.every((network) => network[column] === null || Number.isInteger(network[column]))));
    this.body = element('tbody');
    document.getElementById('table').append(this.head(), this.body);
    this.lines = data.networks.map((network, i) => this.line(network, i));
    document.getElementById('search').addEventListener('input', () => this.refresh());
    document.getElementById('all').addEventListener('click', () => { this.short = !this.short; this.refresh(); });
    this.refresh();
  }

  head() {
    this.headings = this.columns.map((column) => {
      const button = element('button', { type: 'button', textContent: column.replaceAll('_', ' ') });
      if (column in COLUMNS) button.title = COLUMNS[column];
      button.addEventListener('click', () => this.sort(column));
      return element('th', { scope: 'col', className: column === 'network' ? 'name' : column === 'family' ? 'text' : '' }, button);
    });
    const [first, ...others] = this.headings;
    return element('thead', {}, element('tr', {}, first, element('th', { textContent: 'signature' }), ...others));
  }

  line(network, position) {
    const box = element('input', { type: 'checkbox' });
    box.addEventListener('change', () => this.toggle(position, box.checked));
    const first = element('td', { className: 'name', title: network.network },
      element('label', {}, box, element('span', {}, ...breakable(network.network))));
    const figures = this.columns.slice(1).map((column) => (column === 'family'
      ? element('td', { className: 'text' }, ...breakable(network.family))
      : element('td', { textContent: shown(network[column], this.whole.has(column)) })));
    const picture = element('td', {}, spark(network.statistics.affinity_score));
    const name = `${network.network} ${network.family}`.toLowerCase();
    return { row: element('tr', {}, first, picture, ...figures), box, name };
  }

  sort(column) {
    const numbers = typeof this.data.networks.find((n) => n[column] !== null)?.[column] === 'number';
    const again = this.sorting.column === column;
    this.sorting = { column, down: again ? !this.sorting.down : numbers };
    this.headings.forEach((heading, i) => {
      if (this.columns[i] !== column) heading.removeAttribute('aria-sort');
      else heading.setAttribute('aria-sort', this.sorting.down ? 'descending' : 'ascending');
    });
    this.refresh();
  }

  /** Positions of the networks in the order of the table; what is unknown comes last either way. */
  order() {
    const { column, down } = this.sorting;
    if (column === null) return [...this.data.leaf_order];
    const key = (position) => {
      const value = this.data.networks[position][column];
      return Array.isArray(value) ? value.join() : value;
    };
    const unknown = (value) => value === null || value === undefined;
    return this.data.networks.map((_, i) => i).sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (unknown(x) || unknown(y)) return unknown(x) - unknown(y);
      const order = typeof x === 'number' && typeof y === 'number' ? x - y : String(x).localeCompare(String(y));
      return down ? -order : order;
    });
  }

  refresh() {
    const wanted = document.getElementById('search').value.trim().toLowerCase();
    const visible = this.order().filter((i) => this.lines[i].name.includes(wanted));
    const nothing = element('tr', { className: 'empty' },
      element('td', { colSpan: this.columns.length + 1, textContent: `No network and no family is called like “${wanted}”.` }));
    const listed = this.short && visible.length > FIRST + 3 ? visible.slice(0, FIRST) : visible;
    this.body.replaceChildren(...(visible.length ? listed.map((i) => this.lines[i].row) : [nothing]));
    document.getElementById('count').textContent = `${visible.length} of ${this.lines.length} networks`;
    const button = document.getElementById('all');
    button.hidden = visible.length <= FIRST + 3;
    button.textContent = this.short ? `Show all ${visible.length}` : `Show the first ${FIRST}`;
  }

  toggle(position, on) {
    const positions = on ? [...this.selected, position] : this.selected.filter((i) => i !== position);
    (on && positions.length === 2 ? this.onPair : this.select.bind(this))(positions);
  }

  select(positions) {
    this.selected = positions;
    this.lines.forEach(({ row, box }, i) => {
      box.checked = positions.includes(i);
      row.classList.toggle('chosen', box.checked);
    });
    this.onSelect(positions);
  }
}
