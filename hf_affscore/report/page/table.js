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
  const points = scores.map((score, i) => {
    if (score === null) return '';
    const pen = i > 0 && scores[i - 1] !== null ? 'L' : 'M';
    return `${pen}${(100 * (i + 0.5) / scores.length).toFixed(1)} ${(19 - 18 * score).toFixed(1)}`;
  });
  path.setAttribute('d', points.join(''));
  svg.append(path);
  return svg;
}

class NetworkTable {
  constructor(data, onSelect) {
    this.data = data;
    this.onSelect = onSelect;
    this.selected = [];
    this.sorting = { column: null, down: false };
    this.columns = ['network', ...data.columns];
    this.whole = new Set(data.columns.filter((column) =>
      data.networks.every((network) => network[column] === null || Number.isInteger(network[column]))));
    this.body = element('tbody');
    document.getElementById('table').append(this.head(), this.body);
    this.lines = data.networks.map((network, i) => this.line(network, i));
    document.getElementById('search').addEventListener('input', () => this.refresh());
    this.refresh();
  }

  head() {
    this.headings = this.columns.map((column) => {
      const button = element('button', { type: 'button', textContent: column.replaceAll('_', ' ') });
      button.addEventListener('click', () => this.sort(column));
      return element('th', { scope: 'col', className: column === 'network' ? 'name' : '' }, button);
    });
    const [first, ...others] = this.headings;
    return element('thead', {}, element('tr', {}, first, element('th', { textContent: 'signature' }), ...others));
  }

  line(network, position) {
    const box = element('input', { type: 'checkbox' });
    box.addEventListener('change', () => this.toggle(position, box.checked));
    const name = element('td', { className: 'name', title: network.network },
      element('label', {}, box, ` ${network.network}`));
    const figures = this.data.columns.map((column) =>
      element('td', { textContent: shown(network[column], this.whole.has(column)) }));
    const picture = element('td', {}, spark(network.statistics.affinity_score));
    return { row: element('tr', {}, name, picture, ...figures), box, name: network.network.toLowerCase() };
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
    this.body.replaceChildren(...visible.map((i) => this.lines[i].row));
    document.getElementById('count').textContent = `${visible.length} of ${this.lines.length} networks`;
  }

  toggle(position, on) {
    this.select(on ? [...this.selected, position] : this.selected.filter((i) => i !== position));
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
