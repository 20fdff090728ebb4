// Charts in the reader's light or dark, figures to choose from, and tables to sort and filter.
const charts = JSON.parse(document.getElementById('charts').textContent);
const settings = {displayModeBar: false, responsive: true};
const dark = matchMedia('(prefers-color-scheme: dark)');

function look(layout) {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue('--ink').trim(), line = style.getPropertyValue('--line').trim();
  const found = {'font.color': ink};
  for (const axis of Object.keys(layout).filter(key => /^[xy]axis/.test(key)))
    for (const part of ['gridcolor', 'zerolinecolor', 'linecolor']) found[`${axis}.${part}`] = line;
  return found;
}

function drawn(spec) {
  const layout = structuredClone(spec.layout);
  for (const [path, value] of Object.entries(look(layout))) {
    const keys = path.split('.'), last = keys.pop();
    keys.reduce((part, key) => part[key] ??= {}, layout)[last] = value;
  }
  return [spec.data, layout, settings];
}

for (const figure of document.querySelectorAll('.figure')) {
  const own = charts[figure.id], choice = figure.querySelector('select'), chart = figure.querySelector('.chart');
  const show = name => {
    const least = own[name].layout.width ?? own[name].layout.meta.least;
    chart.style.minWidth = `${least}px`;
    chart.style.minHeight = `${own[name].layout.height}px`;
    Plotly.react(chart, ...drawn(own[name])).then(own[name].layout.width ? null : Plotly.Plots.resize);
  };
  if (choice) choice.addEventListener('change', () => show(choice.value));
  show(choice ? choice.value : Object.keys(own)[0]);
}

dark.addEventListener('change', () => document.querySelectorAll('.js-plotly-plot')
  .forEach(chart => Plotly.relayout(chart, look(chart.layout))));

for (const box of document.querySelectorAll('.table')) {
  const body = box.querySelector('tbody'), count = box.querySelector('.count');
  const rows = [...body.rows].filter(row => !row.classList.contains('floor')), all = rows.length;
  const search = box.querySelector('input'), chosen = [...box.querySelectorAll('select')];

  const filter = () => {
    const words = search ? search.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
    let left = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      const kept = words.every(word => text.includes(word)) &&
        chosen.every(one => !one.value || row.cells[one.dataset.column].textContent === one.value);
      row.hidden = !kept;
      left += kept;
    }
    if (count) count.textContent = left === all ? `${all} rows` : `${left} of ${all} rows`;
  };
  for (const one of [search, ...chosen]) if (one) one.addEventListener('input', filter);
  filter();

  box.querySelectorAll('thead th').forEach((head, column) => {
    head.querySelector('button').addEventListener('click', () => {
      const texts = head.classList.contains('text'), now = head.getAttribute('aria-sort');
      const up = now ? now === 'descending' : texts;  // numbers start with the largest
      box.querySelectorAll('thead th').forEach(other => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', up ? 'ascending' : 'descending');
      const key = row => row.cells[column].dataset.v ?? '';
      const order = (a, b) => texts ? key(a).localeCompare(key(b)) : Number(key(a)) - Number(key(b));
      rows.sort((a, b) => {
        const empty = (key(a) === '') - (key(b) === '');  // what was not measured stays last
        return empty || (up ? order(a, b) : order(b, a));
      });
      const floors = [...body.rows].filter(row => row.classList.contains('floor'));
      body.append(...rows, ...floors);
    });
  });
}

for (const box of document.querySelectorAll('.wide, .data')) {
  const told = document.createElement('p');
  told.className = 'note scroll';
  box.before(told);
  const say = () => {
    const wide = box.scrollWidth > box.clientWidth + 1, long = box.scrollHeight > box.clientHeight + 1;
    told.hidden = !wide && !long;
    told.textContent = [wide ? 'sideways \u2192' : '', long ? 'down \u2193' : ''].filter(Boolean).join(' and ')
      .replace(/^/, 'There is more: scroll ');
    box.tabIndex = told.hidden ? -1 : 0;  // the arrow keys scroll it too
  };
  new ResizeObserver(say).observe(box);
  say();
}
