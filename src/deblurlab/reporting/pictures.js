// Zoom and position of the pictures of a page. All of them show the same section: `x` and `y` are the position as
// fractions of a picture's size; `factor` is the scale relative to the fitted picture, or after a click on "1:1 pixels"
// relative to the scale at which a pixel of the picture is a pixel of the screen.
(() => {
  const shown = {x: 0, y: 0, factor: 1, native: false};
  const panels = [...document.querySelectorAll(".zoom")].map(element => ({element, native: 1}));
  const box = panel => panel.element.parentNode.getBoundingClientRect(); // without the transform of the element
  const base = panel => shown.native ? panel.native : 1;

  function show(panel) {
    const {width, height} = box(panel), scale = shown.factor * base(panel), most = Math.max(0, 0.5 - 0.5 / scale);
    if (!width) return; // in closed details
    const within = value => Math.max(-most, Math.min(most, value)); // no space beside the picture
    panel.panzoom.zoom(scale, {silent: true});
    panel.panzoom.pan(within(shown.x) * width, within(shown.y) * height, {silent: true});
  }

  function follow(panel, {x, y, scale}) {
    const {width, height} = box(panel);
    Object.assign(shown, {x: x / width, y: y / height, factor: scale / base(panel)});
    panels.forEach(show);
  }

  function resize(panel) {
    const {width} = box(panel);
    if (!width) return;
    panel.native = panel.element.firstElementChild.getAttribute("width") / (width * devicePixelRatio);
    panel.panzoom.setOptions({minScale: Math.min(1, panel.native), maxScale: 16 * Math.max(1, panel.native)});
    show(panel);
  }

  for (const panel of panels) {
    const {element} = panel, view = element.parentNode;
    panel.panzoom = Panzoom(element, {
      cursor: "grab",
      setTransform: (_, {x, y, scale}) => {
        element.style.transform = `scale(${scale}) translate(${x}px, ${y}px)`;
        element.style.setProperty("--scale", scale); // for the line between two pictures
        element.style.setProperty("--x", `${x}px`);
        element.classList.toggle("pixels", scale > 0.999 * panel.native);
        element.style.touchAction = view.style.touchAction = scale > 1 ? "none" : "pan-y"; // fitted: scrolls the page
      },
    });
    element.addEventListener("panzoomchange", event => follow(panel, event.detail));
    view.addEventListener("wheel", event => {
      if (event.deltaY > 0 && panel.panzoom.getScale() <= Math.min(1, base(panel))) return; // scrolls the page
      panel.panzoom.zoomWithWheel(event);
    }, {passive: false});
    new ResizeObserver(() => resize(panel)).observe(view);
  }

  function start(native) {
    Object.assign(shown, {factor: 1, native}, native ? {} : {x: 0, y: 0});
    panels.forEach(show);
  }
  document.querySelectorAll("button.native").forEach(button => button.addEventListener("click", () => start(true)));
  document.querySelectorAll("button.fit").forEach(button => button.addEventListener("click", () => start(false)));

  // The line between the pictures of a comparison.
  document.querySelectorAll("input.cut").forEach(input => input.addEventListener("input", () => {
    input.closest("figure").style.setProperty("--cut", `${input.value}%`);
  }));

  // Two chosen configurations of a sweep, with the pictures that the page already contains.
  document.querySelectorAll(".choice").forEach(figure => {
    const images = figure.querySelectorAll("img");
    figure.querySelectorAll("select").forEach((select, i) => {
      const choose = () => {
        const {src, alt} = document.getElementById(select.value);
        Object.assign(images[i], {src, alt});
      };
      select.addEventListener("change", choose);
      choose();
    });
  });

  // A validation image over time: one of its pictures is visible.
  document.querySelectorAll(".history").forEach(figure => {
    const input = figure.querySelector("input"), images = figure.querySelectorAll("img");
    const select = () => {
      images.forEach((image, i) => image.classList.toggle("shown", i === Number(input.value)));
      const {label} = images[input.value].dataset;
      figure.querySelector("output").textContent = label;
      input.setAttribute("aria-valuetext", label);
    };
    input.addEventListener("input", select);
    select();
  });
})();
