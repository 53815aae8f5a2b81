"use strict";
// Unpacks plotly and the data, which the page holds compressed, and draws each chart when it comes near the screen.
(async () => {
  const places = [...document.querySelectorAll("[data-chart]")];
  const told = text => places.forEach(place => { place.querySelector(".plot").textContent = text; });
  if (typeof DecompressionStream === "undefined") {
    told("The charts need a browser of 2023 or later.");
    return;
  }
  const unpacked = async id => {
    const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), char => char.charCodeAt(0));
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  };
  const data = JSON.parse(await unpacked("data"));
  const library = document.createElement("script");
  library.textContent = await unpacked("library");
  document.head.append(library);
  const Plotly = window.Plotly;

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const coarse = matchMedia("(pointer: coarse)");
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const BORDERS = ["solid", "dashed", "dotted", "double"];
  const LEAST = 1e-12;  // drawn in place of zero on a logarithmic axis
  const state = { hidden: new Set(), seeds: data.configs.every(config => config.runs === 1), colour: null };

  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const safe = text => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  const palette = () => data.colours[dark.matches ? "dark" : "light"];
  const colour = index => palette()[index % palette().length];
  const round = index => Math.floor(index / palette().length);
  const faded = (hex, alpha) => `rgba(${[1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16)).join(",")},${alpha})`;
  const named = line => safe(data.configs[line.config].label) + (line.part ? ` · ${safe(line.part)}` : "");
  const narrow = () => innerWidth < 700;
  const shortened = (text, most) => text.length > most ? `${text.slice(0, most - 1)}…` : text;

  const shown = lines => lines.filter(line => !state.hidden.has(line.config));

  function drawnLines(chart) {
    const up = y => chart.log ? y.map(value => value === null ? null : Math.max(value, LEAST)) : y;
    const traces = [];
    const seeds = shown(chart.lines).filter(line => line.role === "seed");
    for (const line of state.seeds ? seeds : []) {
      traces.push({
        x: line.x, y: up(line.y), mode: "lines", name: `${named(line)}, seed ${line.seed}`, opacity: .5,
        line: { color: colour(line.config), width: 1, dash: DASHES[(round(line.config) + (line.dash || 0)) % 4] },
        hovertemplate: "%{y:.4~g}",
      });
    }
    const means = shown(chart.lines).filter(line => line.role === "mean");
    for (const line of means.filter(line => line.low)) {
      const there = line.x.map((_, at) => at).filter(at => line.low[at] !== null && line.high[at] !== null);
      const pick = values => up(there.map(at => values[at]));
      const edge = { x: there.map(at => line.x[at]), mode: "lines", line: { width: 0 }, hoverinfo: "skip" };
      traces.push({ ...edge, y: pick(line.low) });
      traces.push({ ...edge, y: pick(line.high), fill: "tonexty", fillcolor: faded(colour(line.config), dark.matches ? .22 : .15) });
    }
    for (const line of means) {
      traces.push({
        x: line.x, y: up(line.y), mode: line.x.length < 12 ? "lines+markers" : "lines", name: named(line), marker: { size: 5 },
        line: { color: colour(line.config), width: 2.2, dash: DASHES[(round(line.config) + (line.dash || 0)) % 4] },
        hovertemplate: "%{y:.4~g}",
      });
    }
    for (const mark of shown(chart.marks || [])) {
      traces.push({
        x: [mark.x], y: up([mark.y]), mode: "markers", name: named(mark), text: [safe(mark.text)], hovertemplate: "%{text}",
        marker: { symbol: "x", size: 10, color: colour(mark.config), line: { width: 1, color: css("--surface") } },
      });
    }
    return traces;
  }

  function drawnBars(chart) {
    const traces = [];
    for (const line of shown(chart.lines)) {
      const own = { name: named(line), offsetgroup: String(line.config) };
      traces.push({
        ...own, type: "bar", x: chart.categories.map(safe), y: line.y, hovertemplate: "%{y:.3f}",
        marker: { color: colour(line.config), pattern: { shape: ["", "/", ".", "x"][round(line.config) % 4], fillmode: "overlay", fgcolor: css("--surface") } },
      });
      const dots = line.dots.flatMap((values, at) => values.map(value => [safe(chart.categories[at]), value]));
      if (line.dots.some(values => values.length > 1)) {
        traces.push({
          ...own, mode: "markers", x: dots.map(dot => dot[0]), y: dots.map(dot => dot[1]), hoverinfo: "skip",
          marker: { size: 4, color: css("--ink"), opacity: .7 },
        });
      }
    }
    return traces;
  }

  function drawnStack(chart) {
    const greys = dark.matches ? ["#7fb2d6", "#4c7f9f", "#b9c7d1", "#4a5058"] : ["#2c5a7a", "#7ba3bd", "#b9cfdb", "#dfe3e6"];
    const at = chart.configs.map((config, row) => row).filter(row => !state.hidden.has(chart.configs[row]));
    const labels = at.map(row => safe(shortened(data.configs[chart.configs[row]].label, narrow() ? 14 : 40)));
    return chart.lines.map((line, part) => ({
      type: "bar", orientation: "h", name: safe(line.part), y: at.map(String), x: at.map(row => line.values[row]),
      customdata: labels, hovertemplate: "%{x:.3~g} s", showlegend: true,
      marker: { color: greys[part], pattern: { shape: ["", "/", "", "x"][part], fillmode: "overlay", fgcolor: css("--surface"), size: 6 } },
    }));
  }

  function drawnMap(chart) {
    const names = Object.keys(chart.colours);
    const name = names.includes(state.colour) ? state.colour : names[0];
    return [{
      x: chart.points.x, y: chart.points.y, mode: "markers", text: chart.colours[name], hovertemplate: `${safe(name)}: %{text:.3~g}<extra></extra>`,
      marker: {
        size: 6, opacity: .85, color: chart.colours[name], colorscale: "Viridis",
        colorbar: { thickness: 10, outlinewidth: 0, title: { text: safe(name), side: "right" }, tickfont: { size: 10 } },
      },
    }];
  }

  function layout(chart, place) {
    const ink = css("--ink"), muted = css("--muted"), grid = css("--grid");
    const axis = { gridcolor: grid, linecolor: css("--line"), zeroline: false, tickfont: { color: muted, size: 11 }, automargin: true };
    const title = text => ({ text: safe(text), font: { color: muted, size: 11.5 }, standoff: 6 });
    const result = {
      autosize: true, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 52, r: 10, t: 8, b: 40 }, showlegend: false,
      font: { family: getComputedStyle(document.body).fontFamily, color: ink, size: 12 },
      xaxis: { ...axis, title: title(chart.x) }, yaxis: { ...axis, title: title(place.closest(".grid") && chart.y.length > 26 ? "" : chart.y) },
      hoverlabel: { namelength: narrow() ? 16 : 40, bgcolor: css("--surface"), bordercolor: css("--line"), font: { color: ink, size: 12 } },
      dragmode: coarse.matches ? false : "zoom", hovermode: "closest", modebar: { bgcolor: "rgba(0,0,0,0)", color: muted, activecolor: ink },
    };
    if (chart.type === "lines") {
      Object.assign(result.xaxis, { tickformat: "~s", rangemode: "tozero" }); // of a single evaluation, too
      result.hovermode = shown(chart.lines).filter(line => line.role === "mean" || state.seeds).length <= 12 ? "x unified" : "closest";
      if (chart.range === "zero") result.yaxis.rangemode = "tozero";
      if (chart.range === "r2") result.yaxis.range = rangeOfR2(shown(chart.lines).flatMap(line => line.y));
      if (chart.log) Object.assign(result.yaxis, { type: "log", exponentformat: "power", dtick: decades(chart) });
      result.shapes = (chart.rules || []).map(rule => ({
        type: "line", xref: "paper", x0: 0, x1: 1, y0: rule.y, y1: rule.y, line: { color: muted, width: 1, dash: "dot" },
        label: { text: safe(rule.text), textposition: "start", yanchor: "bottom", font: { size: 10.5, color: muted } },
      }));
    } else if (chart.type === "bars") {
      Object.assign(result, { barmode: "group", scattermode: "group", bargap: .25, hovermode: "x unified" });
      result.yaxis.range = rangeOfR2(shown(chart.lines).flatMap(line => line.y));
    } else if (chart.type === "stack") {
      const rows = chart.configs.filter(config => !state.hidden.has(config));
      const all = chart.configs.map((_, row) => row).filter(row => !state.hidden.has(chart.configs[row]));
      place.style.height = `${110 + 30 * rows.length}px`;
      Object.assign(result, { barmode: "stack", showlegend: true, legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0, traceorder: "normal" } });
      Object.assign(result.yaxis, {
        autorange: "reversed", type: "category", tickmode: "array", tickvals: all.map(String),
        ticktext: all.map(row => safe(shortened(data.configs[chart.configs[row]].label, narrow() ? 14 : 40))),
      });
      result.hovermode = "y unified";
      result.margin.t = 34;
    } else if (chart.type === "map") {
      const range = [-chart.range, chart.range];
      Object.assign(result.xaxis, { range, constrain: "domain" });
      Object.assign(result.yaxis, { range, scaleanchor: "x", constrain: "domain" });
    }
    return result;
  }

  // R² may be as low as it likes; what is far below 0 is only bad.
  const rangeOfR2 = values => [Math.max(Math.min(0, ...values.filter(value => value !== null)), -.5) * 1.05, 1.04];

  function decades(chart) {
    const values = shown(chart.lines).flatMap(line => line.y).filter(value => value !== null).map(value => Math.log10(Math.max(value, LEAST)));
    const span = Math.max(...values) - Math.min(...values);
    return span > 2 ? Math.ceil(span / 6) : undefined;
  }

  const DRAWN = { lines: drawnLines, bars: drawnBars, stack: drawnStack, map: drawnMap };
  const ready = new Set();

  function draw(figure) {
    const chart = data.charts[figure.dataset.chart], place = figure.querySelector(".plot");
    const hidden = chart.config !== undefined && state.hidden.has(chart.config);
    figure.hidden = hidden;
    if (hidden) return;
    const config = { responsive: true, displaylogo: false, displayModeBar: coarse.matches ? false : "hover", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };
    Plotly.react(place, DRAWN[chart.type](chart), layout(chart, place), config);
    figure.dataset.ready = "yes";
  }
  const redraw = () => ready.forEach(draw);

  function paint() {
    for (const swatch of document.querySelectorAll(".swatch")) {
      const index = Number(swatch.dataset.config);
      swatch.style.borderTopColor = colour(index);
      swatch.style.borderTopStyle = BORDERS[round(index) % 4];
    }
  }

  const keys = [...document.querySelectorAll(".key")];
  function show(hidden) {
    state.hidden = hidden;
    keys.forEach(key => key.setAttribute("aria-pressed", String(!hidden.has(Number(key.dataset.config)))));
    redraw();
  }
  for (const key of keys) {
    const own = Number(key.dataset.config);
    key.addEventListener("click", () => {
      const hidden = new Set(state.hidden);
      if (!hidden.delete(own)) hidden.add(own);
      show(hidden);
    });
    key.addEventListener("dblclick", () => {
      const others = data.configs.map((_, index) => index).filter(index => index !== own);
      const alone = !state.hidden.has(own) && state.hidden.size === others.length;
      show(new Set(alone ? [] : others));
    });
  }
  const seeds = document.getElementById("seeds");
  seeds.hidden = data.configs.every(config => config.runs === 1);
  seeds.addEventListener("click", () => {
    state.seeds = !state.seeds;
    seeds.setAttribute("aria-pressed", String(state.seeds));
    redraw();
  });
  for (const menu of document.querySelectorAll("select[data-colour]")) {
    menu.addEventListener("change", () => { state.colour = menu.value; redraw(); });
  }
  dark.addEventListener("change", () => { paint(); redraw(); });

  paint();
  function begin(place) {
    near.unobserve(place);
    ready.add(place);
    draw(place);
  }
  const near = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(entry => begin(entry.target)),
    { rootMargin: "700px" });
  places.forEach(place => near.observe(place));
  addEventListener("beforeprint", () => places.filter(place => !ready.has(place)).forEach(begin));
  document.documentElement.dataset.ready = "yes";
})();
