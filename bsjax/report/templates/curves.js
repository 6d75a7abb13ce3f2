/* The interactive curves of a page: what #curve_data holds, as the controls ask for it. */
(function () {
  'use strict';
  const root = document.getElementById('curves_live');
  const data = JSON.parse(document.getElementById('curve_data').textContent);
  // So that colour is not all that tells lines apart; in the table as styles of borders.
  const DASHES = [['solid', []], ['dashed', [9, 4]], ['dotted', [2, 3]]];
  const MOST_BANDS = 12;
  const sizes = Object.keys(data.colours).map(Number).sort((a, b) => a - b);
  const state = {study: 0, clock: 0, quantity: 0, rate: 'best', sizes: new Set(sizes)};
  const element = (name, text, parent) => {
    const made = document.createElement(name);
    made.textContent = text;
    return parent ? parent.appendChild(made) : made;
  };
  const controls = element('div', '', root);
  const plot = element('div', '', root);
  const said = element('p', '', root);
  const table = element('table', '', element('div', '', root));
  controls.className = 'controls';
  said.className = 'note';
  said.setAttribute('aria-live', 'polite');
  table.parentNode.className = 'lines';
  plot.setAttribute('role', 'img');
  let chart = null;

  const short = (value) => {
    const size = Math.abs(value);
    if (size >= 1e6) return +(value / 1e6).toPrecision(3) + 'M';
    if (size >= 1e4) return +(value / 1e3).toPrecision(3) + 'k';
    return String(+value.toPrecision(4));
  };
  const unit = () => data.quantities[state.quantity][1];
  const withUnit = (value) => short(value) + (unit() === '%' ? '%' : unit() ? ' ' + unit() : '');

  function select(label, options, change) {
    const box = element('label', label + ' ', controls);
    const list = element('select', '', box);
    for (const [value, text] of options) element('option', text, list).value = value;
    list.addEventListener('change', () => { change(list.value); draw(); });
    return list;
  }

  function rates() {
    const of = data.studies[state.study].settings.map((setting) => setting.rate);
    return [...new Set(of)].sort((a, b) => a - b);
  }

  function build() {
    controls.replaceChildren();
    const numbered = (list) => list.map((entry, place) => [place, entry]);
    if (data.studies.length > 1) {
      select('of', numbered(data.studies.map((study) => study.name)), (value) => {
        state.study = +value;
        state.rate = 'best';
        build();
      }).value = state.study;
    }
    select('show', numbered(data.quantities.map((quantity) => quantity[0])), (value) => {
      state.quantity = +value;
    }).value = state.quantity;
    select('against', numbered(data.clocks.map((clock) => clock[1])), (value) => {
      state.clock = +value;
    }).value = state.clock;
    if (rates().length > 1) {
      const options = [['best', 'the best of each'], ['all', 'all'], ...rates().map((rate) => [rate, String(rate)])];
      select('learning rate', options, (value) => { state.rate = value; }).value = state.rate;
    }
    const group = element('fieldset', '', controls);
    element('legend', 'batch size', group);
    for (const size of sizes) {
      const label = element('label', '', group);
      const box = element('input', '', label);
      box.type = 'checkbox';
      box.checked = state.sizes.has(size);
      box.addEventListener('change', () => {
        state.sizes[box.checked ? 'add' : 'delete'](size);
        draw();
      });
      element('span', '', label).className = 'dot';
      label.lastChild.style.background = data.colours[size];
      label.append(String(size));
    }
  }

  function chosen() {
    const study = data.studies[state.study];
    return study.settings.filter((setting) => state.sizes.has(setting.size)
      && setting.y[state.quantity]
      && (state.rate === 'all'
        || (state.rate === 'best' ? setting.rate === study.best[setting.size] : setting.rate === +state.rate)));
  }

  /* The values of a line at all places of the plot: nothing outside it, between two points on a line. */
  function onto(places, x, y) {
    let next = 0;
    return places.map((place) => {
      if (place < x[0] || place > x[x.length - 1]) return null;
      while (x[next] < place) next += 1;
      if (x[next] === place) return y[next];
      const left = y[next - 1], right = y[next];
      if (left === null || right === null) return null;
      return left + (right - left) * (place - x[next - 1]) / (x[next] - x[next - 1]);
    });
  }

  /* The limits of the plot, by means and the last bands: the steep start of training is cut off. */
  function limits(lines) {
    const known = (values, from) => values.slice(Math.floor(from * values.length)).filter((value) => value !== null);
    const of = (from, ends) => lines.flatMap((line) => line.y[state.quantity].flatMap(
      (values, place) => known(values, place ? ends : from)));
    const bands = lines.length <= MOST_BANDS ? 0.8 : 1;
    const late = of(0.3, bands).length ? of(0.3, bands) : of(0, 1);
    if (!late.length) return {log: false, range: [0, 1]};
    const low = Math.min(...late), high = Math.max(...late);
    if (low > 0 && high / low > 20 && unit() !== '%') return {log: true, range: [low / 1.2, high * 1.2]};
    const room = 0.06 * (high - low) || 0.01 * Math.abs(high) || 0.01;
    return {log: false, range: [low - room, high + room]};
  }

  function draw() {
    const lines = chosen();
    const [clock, clockTitle] = data.clocks[state.clock];
    const title = data.quantities[state.quantity][0];
    if (chart) chart.destroy();
    chart = null;
    table.replaceChildren();
    said.textContent = lines.length ? '' : 'No run was made with this choice, or all were lost.';
    plot.setAttribute('aria-label', title + ' against ' + clockTitle + ', one line for each setting; the values stand in the table below.');
    if (!lines.length) return;
    const logarithmic = clock === 'updates';
    const places = [...new Set(lines.flatMap((line) => line.x[state.clock]))].sort((a, b) => a - b);
    const {log, range} = limits(lines);
    const series = [{}], bands = [], columns = [places], means = [];
    for (const line of lines) {
      const colour = data.colours[line.size];
      const dash = DASHES[sizes.indexOf(line.size) % DASHES.length][1];
      const [mean, lowest, highest] = line.y[state.quantity];
      const column = (values) => onto(places, line.x[state.clock], values);
      means.push(columns.length);
      columns.push(column(mean));
      series.push({stroke: colour, width: 2, dash: dash, points: {show: false}});
      if (highest && lines.length <= MOST_BANDS) {
        for (const values of [highest, lowest]) {
          columns.push(column(values));
          series.push({stroke: 'transparent', width: 0, points: {show: false}});
        }
        bands.push({series: [columns.length - 2, columns.length - 1], fill: colour + '26'});
      }
    }
    const axis = {font: '12px system-ui, sans-serif', stroke: '#4a5468', ticks: {show: false}, grid: {stroke: '#e7eaf0', width: 1}};
    const numbers = (u, splits) => splits.map((value) => value === null ? '' : short(value));
    const cells = rows(lines);
    chart = new uPlot({
      width: plot.clientWidth,
      height: Math.min(400, Math.max(260, plot.clientWidth / 2)),
      legend: {show: false},
      cursor: {drag: {x: true, y: false}},
      scales: {
        x: {time: false, distr: logarithmic ? 3 : 1},
        y: {distr: log ? 3 : 1, range: range},
      },
      axes: [
        {...axis, label: clockTitle, labelSize: 20, labelFont: axis.font, values: numbers},
        {...axis, size: 62, values: (u, splits) => splits.map((value) => value === null ? '' : short(value) + (unit() === '%' ? '%' : ''))},
      ],
      series: series,
      bands: bands,
      hooks: {setCursor: [(u) => tell(u.cursor.idx, columns, means, lines, cells, clockTitle)]},
    }, columns, plot);
    tell(null, columns, means, lines, cells, clockTitle);
  }

  /* A row of the table for each line; returns the cells with the values. */
  function rows(lines) {
    const head = element('tr', '', element('thead', '', table));
    const heads = ['batch size', 'learning rate', 'runs', data.quantities[state.quantity][0]];
    for (const text of heads) element('th', text, head).scope = 'col';
    const body = element('tbody', '', table);
    return lines.map((line) => {
      const row = element('tr', '', body);
      const first = element('td', '', row);
      const swatch = element('span', '', first);
      swatch.className = 'swatch';
      swatch.style.borderTop = '3px ' + DASHES[sizes.indexOf(line.size) % DASHES.length][0] + ' ' + data.colours[line.size];
      first.append(' ' + line.size);
      element('td', line.rate === null ? 'not given' : String(+line.rate.toPrecision(4)), row);
      element('td', line.lost ? line.trials + ' (' + line.lost + ' diverged)' : line.trials + (line.dropped ? ' (dropped)' : ''), row);
      return element('td', '', row);
    });
  }

  /* Writes the values at the pointer into the table, or those at the end of each line. */
  function tell(at, columns, means, lines, cells, clockTitle) {
    const pointed = at !== null && at !== undefined;
    lines.forEach((line, number) => {
      const [mean, lowest, highest] = line.y[state.quantity];
      const end = mean.map((value) => value !== null).lastIndexOf(true); // some are recorded less often
      const value = pointed ? columns[means[number]][at] : end < 0 ? null : mean[end];
      const spread = !pointed && highest && end >= 0 ? ' (' + withUnit(lowest[end]) + ' to ' + withUnit(highest[end]) + ')' : '';
      cells[number].textContent = value === null ? '–' : withUnit(value) + spread;
    });
    said.textContent = (pointed ? 'At ' + short(columns[0][at]) + ' ' + clockTitle : 'At the end of each line')
      + ': the mean over its runs' + (pointed ? '' : ' (lowest to highest)')
      + '. Shaded: from the lowest to the highest run. Drag to zoom in, double-click to zoom out.';
  }

  try {
    build();
    draw();
    new ResizeObserver(() => {
      if (chart && plot.clientWidth && chart.width !== plot.clientWidth) {
        chart.setSize({width: plot.clientWidth, height: chart.height});
      }
    }).observe(plot);
  } catch (error) {
    console.error(error);
    said.textContent = 'This browser cannot draw the curves; the figures below need no script.';
  }
})();
