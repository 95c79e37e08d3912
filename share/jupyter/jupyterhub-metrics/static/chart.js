"use strict";
// Draws the hours of a page's chart, stacked. Without this script the table says the same.
(() => {
  const COLOURS = [
    "#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd", "#d62728", "#17becf", "#bcbd22", "#7f7f7f",
  ];
  const HEIGHT = 260;

  const colourOf = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  const stacked = (series, count) => {
    const sums = new Array(count).fill(0);
    return series.map(({ hours }) => hours.map((value, at) => (sums[at] += value)));
  };

  const draw = (place) => {
    const data = JSON.parse(document.getElementById(place.dataset.chart).textContent);
    const sums = stacked(data.series, data.moments.length);
    // the highest bar first, so that the lower ones cover it
    const order = data.series.map((_, index) => index).reverse();
    const first = data.moments[0];
    const last = data.moments[data.moments.length - 1];
    const step = data.moments.length > 1 ? data.moments[1] - first : 86400;
    const bars = uPlot.paths.bars({ size: [0.8, 40] });
    const day = new Intl.DateTimeFormat("en-GB", {
      day: "numeric",
      month: "short",
      timeZone: place.dataset.zone,
    });
    const days = (_, splits) => splits.map((moment) => day.format(moment * 1000));
    const axis = () => ({
      stroke: () => colourOf("--bs-body-color"),
      grid: { stroke: () => colourOf("--bs-border-color"), width: 1 },
      ticks: { stroke: () => colourOf("--bs-border-color"), width: 1 },
    });
    const options = {
      width: place.clientWidth,
      height: HEIGHT,
      legend: { live: false },
      cursor: { show: false },
      scales: {
        x: { range: () => [first - step / 2, last + step / 2] },
        y: { range: (_, __, most) => [0, most > 0 ? most * 1.05 : 1] },
      },
      axes: [{ ...axis(), values: days }, { ...axis(), size: 60 }],
      tzDate: (moment) => uPlot.tzDate(new Date(moment * 1000), place.dataset.zone),
      series: [
        {},
        ...order.map((index) => ({
          label: data.series[index].name,
          fill: COLOURS[index % COLOURS.length],
          width: 0,
          paths: bars,
          points: { show: false },
        })),
      ],
    };
    const plot = new uPlot(options, [data.moments, ...order.map((index) => sums[index])], place);
    new ResizeObserver(() =>
      plot.setSize({ width: place.clientWidth, height: HEIGHT }),
    ).observe(place);
    new MutationObserver(() => plot.redraw(false, true)).observe(document.documentElement, {
      attributeFilter: ["data-bs-theme"],
    });
  };

  for (const place of document.querySelectorAll(".jhm-plot")) {
    place.parentElement.hidden = false;
    draw(place);
  }
})();
