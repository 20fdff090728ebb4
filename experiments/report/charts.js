// Plotly's charts in the reader's light or dark.
const dark = matchMedia('(prefers-color-scheme: dark)');

function look() {
  const style = getComputedStyle(document.documentElement);
  const ink = style.getPropertyValue('--ink').trim(), line = style.getPropertyValue('--line').trim();
  const found = {'font.color': ink};
  for (const axis of ['xaxis', 'yaxis'])
    for (const part of ['gridcolor', 'zerolinecolor', 'linecolor']) found[`${axis}.${part}`] = line;
  return found;
}

function paint() {
  document.querySelectorAll('.js-plotly-plot').forEach(chart => Plotly.relayout(chart, look()));
}

dark.addEventListener('change', paint);
paint();
document.querySelectorAll('.js-plotly-plot:not([hidden])').forEach(chart => Plotly.Plots.resize(chart));
