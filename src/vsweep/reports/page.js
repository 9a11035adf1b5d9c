"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const bytes = { f8: Float64Array, i4: Int32Array };
  const unpacked = ({ kind, data: text }) => {
    const raw = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    return new bytes[kind](raw.buffer);
  };
  const cells = {
    number: unpacked(data.cell), mean: unpacked(data.mean), error: unpacked(data.error),
    seeds: unpacked(data.seeds), diverged: unpacked(data.diverged),
    rank: unpacked(data.rank), ranked: unpacked(data.ranked),
    axes: data.axes.map((axis) => ({ ...axis, place: unpacked(axis.place) })),
  };
  const rowOf = new Map([...cells.number].map((number, row) => [number, row]));
  const varied = cells.axes.filter((axis) => data.varied.includes(axis.path));
  // A list of more values is none to choose from; then places are.
  const choosableAxes = varied.filter((axis) => axis.values.length <= 200);

  // Overrides are put together from few words: see `Spelling`.
  const spelling = typeof data.spelling === "string" ? null : {
    ...data.spelling, kind: unpacked(data.spelling.kind), index: data.spelling.index.map(unpacked),
  };
  const overrides = (row) => {
    if (!spelling) return null;
    const words = spelling.kinds[spelling.kind[row]].map((word) => {
      if (typeof word === "string") return word;
      const place = spelling.index[word[0]][row];
      return place < 0 ? word[1] : spelling.words[word[0]][place];
    });
    return [...words, spelling.seeds];
  };
  const quoted = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`);
  const overridesText = (row) => { const words = overrides(row); return words ? words.map(quoted).join(" ") : data.spelling; };
  const commandText = (row) => (spelling ? `vsweep run ${overridesText(row)}` : data.spelling);

  const short = (value) => (Number.isNaN(value) ? "–" : String(Number(value.toPrecision(4))));
  // As the tables show a mean and its error.
  const digits = (value, most) => {
    const text = value === 0 ? "0" : value.toPrecision(most);
    return text.includes("e+") && Math.abs(value) < 1e6 ? value.toFixed(0) : text;
  };
  const nameOf = (row) => varied.filter((axis) => axis.values[axis.place[row]] !== "–")
    .map((axis) => `${axis.name}=${axis.values[axis.place[row]]}`).join(" ") || "the one cell";
  const scoreOf = (row) => {
    const [mean, error] = [cells.mean[row], cells.error[row]];
    const known = Number.isNaN(error) ? short(mean) : `${digits(mean, 4)} ± ${digits(error, 2)}`;
    const value = Number.isNaN(mean) ? "no value" : known;
    return `place ${cells.rank[row]} of ${cells.ranked[row]}: ${data.metric} ${value}, ${cells.diverged[row]} of ${cells.seeds[row]} trials diverged`;
  };

  const coarse = matchMedia("(pointer: coarse)").matches;

  // Light and dark.
  const root = document.documentElement;
  const remembered = (() => { try { return localStorage.getItem("vsweep-theme"); } catch { return null; } })();
  if (remembered) root.dataset.theme = remembered;
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const layoutOf = (own) => {
    const theme = data.themes[dark() ? "dark" : "light"];
    return {
      ...own, template: { layout: { ...theme, colorway: own.colorway || theme.colorway } },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: own.plot_bgcolor ?? "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12 }, autosize: true,
      // A finger that scrolls the page is not to zoom.
      dragmode: coarse ? false : own.dragmode ?? "zoom",
      modebar: { bgcolor: "rgba(0,0,0,0)" },
    };
  };

  // Charts: read when they are near, drawn by Plotly.
  const read = new Map();
  const chart = (key) => {
    if (!read.has(key)) read.set(key, JSON.parse($(`chart-${key}`).textContent));
    return read.get(key);
  };
  const drawn = new Set();
  let curves = new Set(data.drawn);
  const choosable = (figure) => figure.data.some((trace) => trace.meta && "cell" in trace.meta);
  // Plotly takes some markup in a name for markup.
  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  // What the cells that are drawn differ in is all that a legend has to say.
  const namesAmong = (numbers) => {
    const rows = numbers.map((number) => rowOf.get(number));
    const apart = varied.filter((axis) => new Set(rows.map((row) => axis.place[row])).size > 1);
    return rows.map((row) => apart.map((axis) => `${axis.name}=${axis.values[axis.place[row]]}`).join(" ") || nameOf(row));
  };
  const retold = (traces) => {
    const order = [...curves];
    const names = namesAmong(order);
    return traces.map((trace) => {
      const at = trace.meta && "cell" in trace.meta ? order.indexOf(trace.meta.cell) : -1;
      if (at < 0) return trace;
      const named = trace.meta.band ? trace : { ...trace, name: plain(names[at]) };
      // Few cells are told apart better by colors that differ than by those of a scale.
      if (order.length > data.palette.length) return named;
      const color = data.palette[at];
      return trace.meta.band ? { ...named, fillcolor: `${color}33` } : { ...named, line: { ...trace.line, color: color } };
    });
  };
  const config = {
    responsive: true, displaylogo: false, displayModeBar: coarse ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  };
  const draw = (plot) => {
    // What is chosen before Plotly is there is drawn when it is.
    if (!globalThis.Plotly) return;
    const figure = chart(plot.dataset.chart);
    let traces = figure.data;
    const layout = layoutOf(figure.layout);
    if (choosable(figure)) {
      traces = retold(traces.filter((trace) => !(trace.meta && "cell" in trace.meta) || curves.has(trace.meta.cell)));
      const scale = plot.closest("figure").querySelector("select[data-scale]");
      if (scale) {
        const axis = `${scale.dataset.scale}axis`;
        layout[axis] = { ...layout[axis], type: scale.value, ...(scale.value === "log" ? { rangemode: "normal" } : {}) };
      }
    }
    Plotly.react(plot, traces.map((trace) => ({ ...trace })), layout, config);
    if (!drawn.has(plot)) {
      drawn.add(plot);
      plot.on("plotly_click", (event) => {
        // A trace says whether its points are cells: others have steps and heights of their own.
        const { customdata, data: { meta } } = event.points[0];
        const cell = meta?.cells ? customdata : meta?.cell;
        if (cell != null && rowOf.has(Number(cell))) choose(rowOf.get(Number(cell)));
      });
    }
  };
  const near = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { near.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "400px" });
  const plots = [...document.querySelectorAll(".plot")];
  const redraw = (which = () => true) => plots.filter((plot) => drawn.has(plot) && which(plot)).forEach(draw);
  addEventListener("beforeprint", () => plots.forEach((plot) => { near.unobserve(plot); draw(plot); }));

  for (const figure of document.querySelectorAll("figure.chart")) {
    const plot = figure.querySelector(".plot");
    const keys = figure.querySelector("script.keys");
    if (keys) {
      const { charts, captions } = JSON.parse(keys.textContent);
      const selects = [...figure.querySelectorAll("select[data-dimension]")];
      const change = () => {
        // Where a choice is not there, as of maps where everything diverged, the first that begins like it is.
        let options = selects.map((select) => select.value);
        if (!charts[options.join("|")]) {
          options = Object.keys(charts).find((each) => each.startsWith(options[0])).split("|");
          selects.forEach((select, i) => { select.value = options[i]; });
        }
        const key = charts[options.join("|")];
        plot.dataset.chart = key;
        figure.querySelector("h3").textContent = captions[key].title;
        figure.querySelector(".note").textContent = captions[key].note;
        draw(plot);
      };
      selects.forEach((select) => select.addEventListener("change", change));
    }
    const scale = figure.querySelector("select[data-scale]");
    if (scale) scale.addEventListener("change", () => draw(plot));
  }
  // Plotly is most of the file and comes last: all else is there before it.
  globalThis.drawWhenNear = () => plots.forEach((plot) => near.observe(plot));

  // Which cells have their curves drawn.
  const lists = [...document.querySelectorAll("details.cells .list")];
  const tell = (text) => { $("told").textContent = ""; setTimeout(() => { $("told").textContent = text; }, 30); };
  const toggle = (number) => {
    if (!curves.delete(number)) curves.add(number);
    for (const list of lists) for (const box of list.querySelectorAll("input")) box.checked = curves.has(Number(box.value));
    redraw((plot) => choosable(chart(plot.dataset.chart)));
    dock();
  };
  for (const list of lists) {
    for (const number of data.curves) {
      const row = rowOf.get(number);
      if (row === undefined) continue;
      const label = document.createElement("label");
      const box = Object.assign(document.createElement("input"), { type: "checkbox", value: number, checked: curves.has(number) });
      box.addEventListener("change", () => toggle(number));
      label.append(box, `${row + 1}. ${nameOf(row)}`);
      list.append(label);
    }
  }
  document.addEventListener("click", (event) => {
    for (const open of document.querySelectorAll("details.cells[open]")) if (!open.contains(event.target)) open.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") for (const open of document.querySelectorAll("details.cells[open]")) { open.open = false; open.querySelector("summary").focus(); }
  });

  // The chosen cell.
  let chosen = 0;
  const place = Object.assign(document.createElement("input"), { type: "number", min: 1, max: cells.number.length });
  place.addEventListener("change", () => choose(Math.min(Math.max(Number(place.value) || 1, 1), cells.number.length) - 1));
  const placeLabel = document.createElement("label");
  placeLabel.append("place ", place);
  const selects = choosableAxes.map((axis, i) => {
    const label = document.createElement("label");
    const select = document.createElement("select");
    axis.values.forEach((value, place) => select.add(new Option(value, place)));
    label.append(`${axis.name} `, select);
    $("axes").append(label);
    select.addEventListener("change", () => pick(i));
    return select;
  });
  $("axes").append(placeLabel);
  const pick = (changed) => {
    // The cell with these values, or the best that has the one that was changed and most of the others.
    let found = -1, most = -1;
    const wanted = selects.map((select) => Number(select.value));
    for (let row = 0; row < cells.number.length; row++) {
      if (choosableAxes[changed].place[row] !== wanted[changed]) continue;
      const same = choosableAxes.reduce((count, axis, i) => count + (axis.place[row] === wanted[i]), 0);
      if (same > most) { most = same; found = row; }
    }
    if (found < 0) { dock(); tell("no cell has this value"); return; }
    choose(found);
    if (most < choosableAxes.length) tell("no cell has exactly these values: this is the best of those that have most of them");
  };
  const dock = () => {
    $("chosen-name").textContent = nameOf(chosen);
    $("chosen-score").textContent = scoreOf(chosen);
    $("overrides").textContent = overridesText(chosen);
    selects.forEach((select, i) => { select.value = choosableAxes[i].place[chosen]; });
    place.value = chosen + 1;
    const number = cells.number[chosen];
    $("draw").disabled = !data.curves.includes(number);
    $("draw").textContent = !data.curves.includes(number) ? "Its curve is not in this file" : curves.has(number) ? "Hide its curve" : "Draw its curve";
    for (const row of document.querySelectorAll("tr[data-cell]")) row.classList.toggle("is-chosen", Number(row.dataset.cell) === number);
  };
  const choose = (row) => { chosen = row; dock(); };
  const copy = async (text, what) => {
    try { await navigator.clipboard.writeText(text); } catch {
      // Where a page may not use the clipboard, a selection can still be copied.
      const area = Object.assign(document.createElement("textarea"), { value: text });
      document.body.append(area); area.select();
      const done = document.execCommand("copy"); area.remove();
      if (!done) { tell("this browser does not let pages copy: select the text"); return; }
    }
    tell(`copied: ${what}`);
  };
  document.querySelectorAll("tr[data-cell]").forEach((row) => row.addEventListener("click", () => choose(rowOf.get(Number(row.dataset.cell)))));
  $("copy").addEventListener("click", () => copy(overridesText(chosen), `the overrides of ${nameOf(chosen)}`));
  $("copy-command").addEventListener("click", () => copy(commandText(chosen), `the command of ${nameOf(chosen)}`));
  $("copy-best").addEventListener("click", () => copy(commandText(0), "the command of the best cell"));
  $("best-command").textContent = commandText(0);
  if (!spelling) $("best-said").hidden = true;
  if (!spelling) for (const id of ["copy", "copy-command", "copy-best"]) $(id).disabled = true;
  $("draw").addEventListener("click", () => {
    toggle(cells.number[chosen]);
  });
  $("more").addEventListener("click", () => {
    const open = $("picker").hidden;
    $("picker").hidden = !open;
    $("more").setAttribute("aria-expanded", String(open));
    $("more").textContent = open ? "Close" : "Choose a cell";
    $("dock").classList.toggle("is-open", open);
  });
  $("theme").addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("vsweep-theme", root.dataset.theme); } catch { /* a file may have no storage */ }
    redraw();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => redraw());
  choose(0);
})();
