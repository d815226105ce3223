// Pictures of the book that answer to the reader. A page loads this file with a <script>; in a notebook it is the
// widget's module, by one line of export that explorers.py adds. A view does not know which: it is given `paint`, which
// answers from ONNX Runtime in the browser here, and from Python there.
const gencapsExplorer = (() => {
  "use strict";

  const RUNTIME = "https://cdn.jsdelivr.net/npm/onnxruntime-web@1.30.0/dist/";
  const RUNTIME_SCRIPT = { file: "ort.wasm.bundle.min.mjs", integrity: "sha384-PLWz+nHEVHpjwBsO0YVdvQj6n5814Iv8E3b8FG0Rp/uIAtjFMCKOpP66iPzedrIG" };
  const RUNTIME_BINARY = { file: "ort-wasm-simd-threaded.wasm", integrity: "sha384-vjBJ1z7qrhkTyYsNqKeF6c7N+nOJSU94czEo+tvZcu8G75JparGq9kB+kTnEUNVM" };
  const ADDED = [213, 94, 0]; // the colours of the book's figures: orange for ink that is added, blue for ink taken away
  const TAKEN = [0, 114, 178];
  const CIVIDIS = [[0, 34, 78], [67, 78, 108], [125, 124, 120], [188, 175, 111], [254, 232, 56]];
  const scenes = {}; // filled by the files that hold them, see `sceneOf`
  const home = document.currentScript?.src; // of this script on a page; a notebook's module has none

  // ---- Elements

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  function choice(label, options, value, changed) {
    const select = make("select", {}, ...options.map(([key, text]) => make("option", { value: key }, text)));
    select.value = value;
    select.addEventListener("change", () => changed(Number(select.value)));
    const element = make("label", {}, label, select);
    return { element, show: (now) => (select.value = now) };
  }

  // A slider with its value beside it, and a bar below it for the range that was trained.
  function slider(label, [low, high, step], value, changed, text = signed) {
    const input = make("input", { type: "range", min: low, max: high, step, value });
    const shown = make("span", { class: "gencaps-value" }, text(value));
    const bar = make("span", { class: "gencaps-range", hidden: "" });
    const element = make("label", {}, label, make("span", { class: "gencaps-slide" }, input, bar), shown);
    input.addEventListener("input", () => changed(Number(input.value)));
    return {
      element,
      show(now) {
        input.value = now;
        shown.textContent = text(now);
      },
      mark(from, to) {
        bar.hidden = false;
        // The middle of the knob, which is about 16 pixels wide, does not reach the slider's ends.
        bar.style.left = `calc(8px + (100% - 16px) * ${(from - low) / (high - low)})`;
        bar.style.width = `calc((100% - 16px) * ${(to - from) / (high - low)})`;
      },
    };
  }

  function panel(side, caption) {
    const canvas = make("canvas", { width: side, height: side, role: "img" });
    const words = make("figcaption", {}, caption);
    const element = make("figure", {}, canvas, words);
    const say = (text, label) => {
      words.textContent = text;
      canvas.setAttribute("aria-label", label ?? text);
    };
    say(caption);
    return { element, canvas, context: canvas.getContext("2d"), say };
  }

  // Call `moved(x, y, first)` with the place of a pointer that is down, in the canvas's own pixels.
  function onDrag(canvas, moved) {
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      const scale = canvas.width / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    };
    canvas.classList.add("gencaps-drag");
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      moved(...place(event), true);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (canvas.hasPointerCapture(event.pointerId)) moved(...place(event), false);
    });
  }

  const signed = (value) => (value > 0 ? `+${value}` : `${value}`.replace("-", "−"));
  const bounded = (value, low, high) => Math.min(Math.max(value, low), high);
  const mix = (from, to, share) => from.map((value, index) => value + share * (to[index] - value));
  const RADIANS = Math.PI / 180;
  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  // ---- What is computed here

  // The maps that capsules write, as gencaps_lib.routing.route_by_address: addresses [[row, column], …] in index space.
  function route(addresses, strengths, size) {
    const map = new Float64Array(size * size);
    addresses.forEach(([row, column], capsule) => {
      for (let i = Math.max(0, Math.ceil(row - 1)); i < Math.min(size, row + 1); i++)
        for (let j = Math.max(0, Math.ceil(column - 1)); j < Math.min(size, column + 1); j++)
          map[i * size + j] += strengths[capsule] * (1 - Math.abs(row - i)) * (1 - Math.abs(column - j));
    });
    return map;
  }

  const SIDE = 28; // of a digit's image, in pixels

  // A digit (28×28 bytes) shifted on its canvas, in [−1, 1].
  function shifted(digit, row, column, side) {
    const margin = (side - SIDE) / 2;
    const image = new Float32Array(side * side).fill(-1);
    digit.forEach((level, place) => {
      const i = Math.floor(place / SIDE) + margin + row;
      const j = (place % SIDE) + margin + column;
      image[i * side + j] = level / 127.5 - 1;
    });
    return image;
  }

  // A digit (28×28 bytes) turned counter-clockwise, in [−1, 1], as gencaps_lib.transforms.rotate.
  function rotated(digit, degrees) {
    const [cos, sin] = [Math.cos(degrees * RADIANS), Math.sin(degrees * RADIANS)];
    const at = (i, j) => digit[bounded(i, 0, SIDE - 1) * SIDE + bounded(j, 0, SIDE - 1)] / 127.5 - 1;
    const inside = (place) => place >= 0 && place < SIDE;
    return Float32Array.from({ length: SIDE * SIDE }, (_, place) => {
      const [y, x] = [Math.floor(place / SIDE), place % SIDE].map((index) => index + 0.5 - SIDE / 2);
      const [row, column] = [sin * x + cos * y + SIDE / 2, cos * x - sin * y + SIDE / 2];
      if (!inside(row) || !inside(column)) return -1;
      const [top, left] = [Math.floor(row - 0.5), Math.floor(column - 0.5)];
      const [down, right] = [row - 0.5 - top, column - 0.5 - left];
      const [upper, lower] = [top, top + 1].map((i) => at(i, left) + right * (at(i, left + 1) - at(i, left)));
      return upper + down * (lower - upper);
    });
  }

  function meanSquaredError(image, target) {
    return image.reduce((sum, value, place) => sum + (value - target[place]) ** 2, 0) / image.length;
  }

  // ---- Drawing

  // An image in [−1, 1], ink in black; where it has more ink than `without`, in orange, and where less, in blue.
  function drawImage({ canvas, context }, image, without = image) {
    const pixels = context.createImageData(canvas.width, canvas.height);
    image.forEach((value, place) => {
      const level = 127.5 * (1 - value);
      const change = value - without[place];
      const colour = mix([level, level, level], change > 0 ? ADDED : TAKEN, Math.min(1, Math.abs(change)));
      pixels.data.set([...colour, 255], 4 * place);
    });
    context.putImageData(pixels, 0, 0);
  }

  // Maps a cell's index to the canvas, with `around` cells of paper on each side.
  const scaleOf = (canvas, size, around) => canvas.width / (size - 1 + 2 * around);

  function disc(context, x, y, radius, fill, edge) {
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fillStyle = fill;
    context.fill();
    if (edge) {
      context.lineWidth = 3;
      context.strokeStyle = edge;
      context.stroke();
    }
  }

  const AROUND = 2; // cells beyond the map's border that are shown

  // Capsules as dots; if they were elsewhere `before`, with a line from there.
  function drawDots({ canvas, context }, places, strengths, size, chosen, before = []) {
    const scale = scaleOf(canvas, size, AROUND);
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    for (let cell = 0; cell < size * size; cell++)
      disc(context, ((cell % size) + AROUND) * scale, (Math.floor(cell / size) + AROUND) * scale, 1.5, "#bbb");
    const most = Math.max(...strengths);
    const at = (place) => place.map((index) => (index + AROUND) * scale).reverse();
    context.lineWidth = 2;
    context.strokeStyle = `rgb(${TAKEN})`;
    before.forEach((place, capsule) => {
      context.beginPath();
      context.moveTo(...at(place));
      context.lineTo(...at(places[capsule]));
      context.stroke();
    });
    const dot = (capsule, more, ...colours) => {
      const [x, y] = at(places[capsule]);
      disc(context, x, y, 3 + more + 7 * Math.sqrt(strengths[capsule] / most), ...colours);
    };
    places.forEach((_, capsule) => dot(capsule, 0, `rgba(${ADDED}, 0.7)`));
    if (chosen >= 0) dot(chosen, 2, `rgb(${TAKEN})`, "black"); // over the others
  }

  function drawCells({ canvas, context }, map, places, size, chosen) {
    const scale = scaleOf(canvas, size, AROUND);
    context.fillStyle = "white";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const most = Math.max(1, ...map);
    map.forEach((value, cell) => {
      const level = (value / most) * (CIVIDIS.length - 1);
      const step = Math.min(Math.floor(level), CIVIDIS.length - 2);
      context.fillStyle = `rgb(${mix(CIVIDIS[step], CIVIDIS[step + 1], level - step).map(Math.round)})`;
      const [x, y] = [(cell % size) - 0.5 + AROUND, Math.floor(cell / size) - 0.5 + AROUND];
      context.fillRect(x * scale + 0.5, y * scale + 0.5, scale - 1, scale - 1);
    });
    places.forEach(([row, column], capsule) => {
      const edge = capsule === chosen ? "black" : "white";
      disc(context, (column + AROUND) * scale, (row + AROUND) * scale, 7, `rgb(${ADDED})`, edge);
    });
  }

  const placesOf = ({ addresses, strengths }) =>
    Array.from(strengths, (_, index) => [addresses[2 * index], addresses[2 * index + 1]]);

  const nearest = (places, row, column) => {
    const far = places.map((place) => Math.hypot(place[0] - row, place[1] - column));
    return far.indexOf(Math.min(...far));
  };

  // ---- Views. Each fills `root`, and returns what tests and the page need: what is shown, and how to ask for it.

  // What a reader does to a digit: the sliders of its axes, in words, the decoders' code, the image that is asked for, and
  // where dragging the digit from one (x, y) to another, seen from the canvas's middle, takes it.
  const SHIFT = {
    noun: "shift",
    done: "shifted",
    labels: { row: "Shift down", column: "Shift right" },
    text: signed,
    where: ({ row, column }) => `${signed(row)} down, ${signed(column)} right`,
    code: ({ row, column }, { axes }) => [row / axes.row[1], column / axes.column[1]],
    target: (digit, { row, column }, { side }) => shifted(digit, row, column, side),
    drag: ({ row, column }, [x, y], [endX, endY]) => ({ row: row + Math.round(endY - y), column: column + Math.round(endX - x) }),
  };
  const ROTATION = {
    noun: "angle",
    done: "turned",
    labels: { angle: "Angle" },
    text: (value) => `${signed(value)}°`,
    where: ({ angle }) => `${signed(angle)}°`,
    code({ angle }) {
      const radians = Math.fround(angle * RADIANS); // as PyTorch: in single precision, half a turn is a little more
      return [Math.cos(radians), Math.sin(radians)];
    },
    target: (digit, { angle }) => rotated(digit, angle),
    drag({ angle }, from, to) {
      const [start, end] = [from, to].map(([x, y]) => Math.atan2(-y, x) / RADIANS);
      return { angle: (((Math.round(angle + end - start) + 180) % 360) + 360) % 360 - 180 };
    },
  };

  const count = (many, text) => Array.from({ length: many }, (_, index) => [index, text(index)]);
  const fed = (data) => ({ dims: [1, data.length], data: Float32Array.from(data) }); // what a model is fed

  // What the views of a digit share: its sliders, the image that is asked for, where capsules write, and what they draw.
  // `own` is what a view adds: `controls` and `panels`; `dots`, the side and the words of where capsules write; `also`, what
  // is computed beside what capsules draw; and `draw`, which shows that, and returns a sentence for the words below.
  async function digitView(root, scene, paint, transform, own) {
    const images = scene.images.map(bytesOf);
    const samples = images.length / 10;
    const { side, axes } = scene;
    const state = { ...scene.start, latent: scene.parents, deviation: 0, capsule: -1 };
    let shown;

    const set = (name) => (value) => ask({ [name]: value });
    const places = Object.entries(axes).map(([axis, reach]) => [
      axis, slider(transform.labels[axis], [...reach, 1], state[axis], set(axis), transform.text),
    ]);
    const controls = {
      digit: choice("Digit", count(10, String), state.digit, set("digit")),
      sample: choice("Written by", count(samples, (index) => `hand ${index + 1}`), state.sample, set("sample")),
      ...Object.fromEntries(places),
      ...own.controls(state, set),
      capsule: choice(
        "Capsule", [[-1, "all"], ...count(scene.capsules, (index) => index + 1)], state.capsule, set("capsule"),
      ),
    };
    const panels = {
      target: panel(side, "Asked for"),
      dots: panel(own.dots.side, "Where capsules write"),
      image: panel(side, "Capsules draw"),
      ...own.panels,
    };
    const words = make("p", { class: "gencaps-words" });
    root.append(
      make("div", { class: "gencaps-controls" }, ...Object.values(controls).map((control) => control.element)),
      make("div", { class: "gencaps-panels" }, ...Object.values(panels).map((each) => each.element)),
      words,
      make("p", { class: "gencaps-about" }, scene.about),
    );

    const latentOf = (part) => {
      const latent = fed(scene.latents[part][state.digit * samples + state.sample]);
      latent.data[state.latent] += state.deviation * scene.spread[part][state.latent];
      return latent;
    };

    async function answer() {
      const mask = fed(Array(scene.capsules).fill(1));
      const feeds = {
        capsules_latent: latentOf("capsules"),
        autoencoder_latent: latentOf("autoencoder"),
        code: fed(transform.code(state, scene)),
        mask,
      };
      const asked = { ...state };
      const whole = { ...(await paint(feeds)), ...(await own.also(feeds)) };
      if (asked.capsule >= 0) whole.without = (await paint({ ...feeds, mask: fed(mask.data.with(asked.capsule, 0)) })).image;
      return { ...whole, asked };
    }

    function draw({ asked, image, without, ...written }) {
      const { digit, sample, capsule } = asked;
      const target = transform.target(images[digit * samples + sample], asked, scene);
      const dots = placesOf(written);
      const error = meanSquaredError(image, target).toFixed(3);
      const [from, to] = scene.seen[digit];
      const seen = Object.keys(axes).every((axis) => from <= asked[axis] && asked[axis] <= to);
      drawImage(panels.target, target);
      drawDots(panels.dots, dots, written.strengths, scene.size, capsule, written.before);
      drawImage(panels.image, image, without);
      panels.target.say("Asked for; drag it", `The ${digit} that is asked for, ${transform.done} ${transform.where(asked)}.`);
      const centre = [0, 1].map((axis) => dots.reduce((sum, place) => sum + place[axis], 0) / dots.length);
      panels.dots.say(
        own.dots.caption,
        `${own.dots.noun} of ${dots.length} capsules on the map; their mean is row ${centre[0].toFixed(1)}, ` +
          `column ${centre[1].toFixed(1)}.` +
          (capsule < 0 ? "" : ` Capsule ${capsule + 1} is at row ${dots[capsule][0].toFixed(1)}, column ${dots[capsule][1].toFixed(1)}.`),
      );
      panels.image.say(`Capsules: error ${error}`, `What the capsules draw; mean squared error ${error}.`);
      for (const [, control] of places) control.mark(from, to);
      words.textContent =
        `In training every '${digit}' was ${transform.done} by ${transform.text(from)} to ${transform.text(to)} ` +
        `(the bar under the slider${places.length > 1 ? "s" : ""}): this ${transform.noun} is ${seen ? "among them" : "not"}.` +
        own.draw(written, target) +
        (capsule < 0 ? "" : ` Without capsule ${capsule + 1}, the orange ink would be missing, and the blue be there.`);
    }

    let busy = false;
    let stale = false;
    let idle = Promise.resolve();
    // Draw what is asked for last; answers to what was asked for in between are not waited for.
    function ask(change) {
      Object.assign(state, change);
      for (const [name, control] of Object.entries(controls)) control.show(state[name]);
      stale = true;
      if (!busy) idle = drawAll();
      return idle;
    }
    async function drawAll() {
      busy = true;
      try {
        while (stale) {
          stale = false;
          shown = await answer();
          draw(shown);
        }
      } finally {
        busy = false;
      }
    }

    let start;
    onDrag(panels.target.canvas, (x, y, first) => {
      const pointer = [x - side / 2, y - side / 2];
      if (first) start = { pointer, ...state };
      const dragged = Object.entries(transform.drag(start, start.pointer, pointer));
      const change = Object.fromEntries(dragged.map(([axis, value]) => [axis, bounded(value, ...axes[axis])]));
      if (Object.keys(change).some((axis) => change[axis] !== state[axis])) ask(change);
    });
    panels.dots.canvas.classList.add("gencaps-pick");
    panels.dots.canvas.addEventListener("click", ({ offsetX, offsetY, target }) => {
      const scale = scaleOf(target, scene.size, AROUND) * (target.clientWidth / target.width);
      const capsule = nearest(placesOf(shown), offsetY / scale - AROUND, offsetX / scale - AROUND);
      ask({ capsule: capsule === state.capsule ? -1 : capsule });
    });

    await ask({});
    return { ask, shown: () => shown };
  }

  // One latent of the digit, which can be changed, and an autoencoder's drawing beside the capsules'.
  function drawingView(root, scene, paint, transform) {
    const kindOf = (index) => (index < scene.parents ? " (which whole)" : " (pose)");
    const latentName = (index) => `${index + 1}${scene.parents ? kindOf(index) : ""}`;
    const autoencoder = panel(scene.side, "Autoencoder draws");
    return digitView(root, scene, paint, transform, {
      controls: (state, set) => ({
        latent: choice("Latent", count(scene.spread.capsules.length, latentName), state.latent, set("latent")),
        deviation: slider("Change it by", [-3, 3, 0.1], 0, set("deviation"), (value) => `${signed(value)} SD`),
      }),
      panels: { autoencoder },
      dots: { side: 264, caption: "Where capsules write; pick one", noun: "Addresses" },
      also: () => ({}),
      draw({ autoencoder_image: image }, target) {
        const error = meanSquaredError(image, target).toFixed(3);
        drawImage(autoencoder, image);
        autoencoder.say(`Autoencoder: error ${error}`, `What the autoencoder draws; mean squared error ${error}.`);
        return "";
      },
    });
  }

  // Where capsules write, in large, and where they wrote before anything was done.
  function marchView(root, scene, paint, transform) {
    const still = Object.fromEntries(Object.keys(scene.axes).map((axis) => [axis, 0]));
    root.classList.add("gencaps-march");
    return digitView(root, scene, paint, transform, {
      controls: () => ({}),
      panels: {},
      dots: { side: 420, caption: "Dots: where capsules write; lines: from shift 0; pick one", noun: "March" },
      also: async (feeds) => ({ before: placesOf(await paint({ ...feeds, code: fed(transform.code(still, scene)) })) }),
      draw({ before, ...written }) {
        const after = placesOf(written);
        const mean = [0, 1].map((axis) => after.reduce((sum, place, n) => sum + place[axis] - before[n][axis], 0) / after.length);
        // In pixels: a cell has as many as the image has for each of the map's.
        const [down, right] = mean.map((cells) => signed(Number(((cells * scene.side) / scene.size).toFixed(1))));
        return ` The addresses went ${down} down and ${right} right, on average.`;
      },
    });
  }

  // Capsules that the reader places; the map that they write.
  async function placementView(root, scene) {
    const { size } = scene;
    const capsules = scene.capsules.map(([row, column, strength]) => ({ row, column, strength }));
    const [low, high] = [-AROUND + 0.25, size - 1 + AROUND - 0.25];
    let chosen = 0;
    let map;

    const set = (name) => (value) => ask({ [name]: value });
    const plain = (value) => value.toFixed(2).replace("-", "−");
    const controls = {
      row: slider("Row", [low, high, 0.05], capsules[0].row, set("row"), plain),
      column: slider("Column", [low, high, 0.05], capsules[0].column, set("column"), plain),
      strength: slider("Activation", [0, 1, 0.05], capsules[0].strength, set("strength"), plain),
    };
    const picked = choice("Capsule", capsules.map((_, index) => [index, index + 1]), 0, choose);
    const shown = panel(420, "Drag a capsule");
    const words = make("p", { class: "gencaps-words" });
    const inputs = [picked, ...Object.values(controls)].map((control) => control.element);
    root.classList.add("gencaps-placement");
    root.append(
      make("div", { class: "gencaps-controls" }, ...inputs), make("div", { class: "gencaps-panels" }, shown.element), words,
    );

    function choose(capsule) {
      chosen = capsule;
      picked.show(capsule);
      ask({});
    }

    function ask(change) {
      Object.assign(capsules[chosen], change);
      const { row, column, strength } = capsules[chosen];
      for (const [name, control] of Object.entries(controls)) control.show(capsules[chosen][name]);
      const places = capsules.map((capsule) => [capsule.row, capsule.column]);
      map = route(places, capsules.map((capsule) => capsule.strength), size);
      drawCells(shown, map, places, size, chosen);
      const written = Array.from(route([[row, column]], [strength], size).entries())
        .filter(([, value]) => value > 0.005)
        .map(([cell, value]) => `${value.toFixed(2)} at (${Math.floor(cell / size)}, ${cell % size})`);
      words.textContent =
        `Capsule ${chosen + 1}, at row ${plain(row)} and column ${plain(column)}, writes ` +
        (written.length ? `${written.join(", ")}.` : "nothing.");
      const total = map.reduce((sum, value) => sum + value, 0).toFixed(2);
      shown.say("Drag a capsule", `A map of ${size} by ${size} cells, on which ${capsules.length} capsules write ${total} in all.`);
    }

    onDrag(shown.canvas, (x, y, first) => {
      const scale = scaleOf(shown.canvas, size, AROUND);
      const [row, column] = [y / scale - AROUND, x / scale - AROUND];
      if (first) choose(nearest(capsules.map((capsule) => [capsule.row, capsule.column]), row, column));
      else ask({ row: bounded(row, low, high), column: bounded(column, low, high) });
    });
    ask({});
    return { ask, choose, shown: () => map };
  }

  // A digit that the reader turns, and the errors of all candidates, which were computed before. Only turning is live.
  async function searchView(root, scene) {
    const { degrees, labels, errors, names, seen } = scene;
    const images = scene.images.map(bytesOf);
    const drawings = scene.drawn.map((each) => each.map(bytesOf));
    const step = degrees[1] - degrees[0];
    const state = { ...scene.start };
    const most = Math.max(...errors.flat(2));
    const told = (angle) => `${signed(angle)}°`;
    let shown;

    const set = (name) => (value) => ask({ [name]: value });
    const reach = [degrees[0], degrees.at(-1), step];
    const controls = {
      digit: choice("Digit", labels.map((label, index) => [index, label]), state.digit, set("digit")),
      angle: slider("Angle", reach, state.angle, set("angle"), told),
      candidate: slider("Candidate", reach, state.angle, set("candidate"), told),
    };
    const panels = {
      given: panel(SIDE, "Given"), back: panel(SIDE, "Turned back"), drawn: panel(SIDE, "Drawn"), chart: panel(480, "Errors"),
    };
    panels.chart.canvas.height = 220;
    const words = make("p", { class: "gencaps-words" });
    root.classList.add("gencaps-search");
    root.append(
      make("div", { class: "gencaps-controls" }, ...Object.values(controls).map((control) => control.element)),
      make("div", { class: "gencaps-panels" }, ...Object.values(panels).map((each) => each.element)),
      words,
    );

    // The chart's place of an angle and an error, in its canvas's pixels; as high for all digits, so that they compare.
    const [LEFT, FOOT, TOP] = [16, 30, 10];
    const { width, height } = panels.chart.canvas;
    const along = (angle) => LEFT + ((angle - degrees[0]) / (degrees.at(-1) - degrees[0])) * (width - 2 * LEFT);
    const up = (error) => height - FOOT - (error / most) * (height - FOOT - TOP);

    function drawChart({ context }, line, best) {
      context.fillStyle = "white";
      context.fillRect(0, 0, width, height);
      context.font = "16px sans-serif";
      context.textAlign = "center";
      context.fillStyle = "#444";
      for (const angle of [-150, -100, -50, 0, 50, 100, 150]) context.fillText(told(angle), along(angle), height - 8);
      const rule = (points, colour) => {
        context.beginPath();
        for (const [x, y] of points) context.lineTo(x, y);
        context.lineWidth = 2;
        context.strokeStyle = colour;
        context.stroke();
      };
      rule([[LEFT, up(0)], [width - LEFT, up(0)]], "#999");
      rule([[along(state.angle), TOP], [along(state.angle), up(0)]], "#999");
      rule(line.map((error, index) => [along(degrees[index]), up(error)]), `rgb(${TAKEN})`);
      line.forEach((error, index) => disc(context, along(degrees[index]), up(error), 4, `rgb(${TAKEN})`));
      disc(context, along(degrees[best]), up(line[best]), 8, `rgb(${ADDED})`);
      const chosen = degrees.indexOf(state.candidate);
      disc(context, along(state.candidate), up(line[chosen]), 6, "rgba(0, 0, 0, 0)", "black");
    }

    function ask(change) {
      Object.assign(state, change);
      const at = degrees.indexOf(state.angle);
      const line = errors[state.digit][at];
      const best = line.indexOf(Math.min(...line));
      if (!("candidate" in change)) state.candidate = degrees[best];
      for (const [name, control] of Object.entries(controls)) control.show(state[name]);
      const tried = degrees.indexOf(state.candidate);
      // The candidate at which the upright digit leans as this one does when it is turned back.
      const leaning = (tried - at + degrees.indexOf(0) + degrees.length) % degrees.length;
      const given = rotated(images[state.digit], state.angle);
      const back = rotated(given.map((value) => (value + 1) * 127.5), -state.candidate);
      const drawn = Float32Array.from(drawings[state.digit][leaning], (level) => level / 127.5 - 1);
      shown = { given, back, drawn, errors: line, best: degrees[best] };

      const label = labels[state.digit];
      const [from, to] = seen[state.digit];
      const error = line[tried].toFixed(3);
      drawImage(panels.given, given);
      drawImage(panels.back, back);
      drawImage(panels.drawn, drawn);
      drawChart(panels.chart, line, best);
      panels.given.say("Given; drag it", `A ${label}, turned by ${told(state.angle)}.`);
      panels.back.say("Turned back by θ", `The same, turned back by ${told(state.candidate)}.`);
      panels.drawn.say("Drawn from that, upright", "What is drawn from it, upright.");
      panels.chart.say(
        "Error of each candidate; pick one. Orange: the least. Grey line: the angle.",
        `Errors of ${degrees.length} candidates: least ${line[best].toFixed(3)} at ${told(degrees[best])}, ` +
          `most ${Math.max(...line).toFixed(3)}.`,
      );
      controls.angle.mark(Math.max(from, degrees[0]), Math.min(to, degrees.at(-1)));
      words.textContent =
        `In training every '${label}' was turned by ${told(from)} to ${told(to)} (the bar under the slider): this angle is ` +
        `${from <= state.angle && state.angle <= to ? "among them" : "not"}. Candidate ${told(state.candidate)} has the error ` +
        `${error}. The least, ${line[best].toFixed(3)}, is at ${told(degrees[best])}, and so the digit is named ` +
        `'${names[state.digit][at]}'.`;
    }

    let start;
    onDrag(panels.given.canvas, (x, y, first) => {
      const pointer = [x - SIDE / 2, y - SIDE / 2];
      if (first) start = { pointer, ...state };
      const angle = Math.round(ROTATION.drag(start, start.pointer, pointer).angle / step) * step;
      const allowed = degrees.includes(angle) ? angle : degrees[0]; // 180° is −180°
      if (allowed !== state.angle) ask({ angle: allowed });
    });
    onDrag(panels.chart.canvas, (x) => {
      const far = degrees.map((angle) => Math.abs(along(angle) - x));
      ask({ candidate: degrees[far.indexOf(Math.min(...far))] });
    });
    ask({});
    return { ask, shown: () => shown };
  }

  const VIEWS = {
    shift: (root, scene, paint) => drawingView(root, scene, paint, SHIFT),
    march: (root, scene, paint) => marchView(root, scene, paint, SHIFT),
    rotation: (root, scene, paint) => drawingView(root, scene, paint, ROTATION),
    placement: placementView,
    search: searchView,
  };

  // ---- On a page: models run in the browser

  async function fetched({ file, integrity }) {
    const response = await fetch(RUNTIME + file, { integrity, credentials: "omit" });
    if (!response.ok) throw new Error(`${response.url} answered ${response.status}`);
    return response;
  }

  let runtime;
  function onnxRuntime() {
    runtime ??= (async () => {
      const [script, binary] = await Promise.all([fetched(RUNTIME_SCRIPT), fetched(RUNTIME_BINARY)]);
      const url = URL.createObjectURL(new Blob([await script.text()], { type: "text/javascript" }));
      const ort = await import(url);
      ort.env.wasm.wasmBinary = await binary.arrayBuffer();
      ort.env.wasm.numThreads = 1; // more need headers that hosts of static pages do not send
      return ort;
    })();
    return runtime;
  }

  // A scene is a script, and not data that is fetched, so that a book opened from disk may load it.
  function sceneOf(name) {
    return new Promise((resolve, reject) => {
      const script = make("script", { src: new URL(`../${name}.js`, home).href });
      script.addEventListener("load", () => resolve(scenes[name]));
      script.addEventListener("error", () => reject(new Error(`${script.src} cannot be loaded`)));
      document.head.append(script);
    });
  }

  async function inBrowser(scene) {
    if (!scene.model) return undefined;
    const ort = await onnxRuntime();
    const session = await ort.InferenceSession.create(bytesOf(scene.model), { executionProviders: ["wasm"] });
    return async (feeds) => {
      const tensors = Object.entries(feeds).map(([name, { dims, data }]) => [name, new ort.Tensor("float32", data, dims)]);
      const answers = await session.run(Object.fromEntries(tensors));
      return Object.fromEntries(Object.entries(answers).map(([name, tensor]) => [name, tensor.data]));
    };
  }

  async function awaken(host) {
    const note = host.querySelector(".gencaps-note");
    const root = make("div", { class: "gencaps-live" });
    note.textContent = "Loading the live picture…";
    try {
      const settings = JSON.parse(host.dataset.settings);
      const scene = settings.scene ? { ...(await sceneOf(settings.scene)), ...settings } : settings;
      host.live = await VIEWS[settings.view](root, scene, await inBrowser(scene));
      host.replaceChildren(root);
    } catch (error) {
      note.textContent = `The picture stays still: to be live it needs a connection and a recent browser (${error.message}).`;
    }
  }

  function watch() {
    const watcher = new IntersectionObserver(
      (entries) => {
        for (const { isIntersecting, target } of entries.filter((entry) => entry.isIntersecting)) {
          watcher.unobserve(target);
          awaken(target);
        }
      },
      { rootMargin: "200px" },
    );
    for (const host of document.querySelectorAll(".gencaps-explorer")) watcher.observe(host);
  }

  if (home) {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", watch);
    else watch();
  }

  // ---- In a notebook: models run in the kernel, see explorers.py

  function inKernel(model, { inputs, outputs }) {
    const waiting = new Map();
    let asked = 0;
    model.on("msg:custom", ({ id, error }, buffers) => {
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      if (error) return reject(new Error(error));
      const floats = ({ buffer, byteOffset, byteLength }) => new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength));
      return resolve(Object.fromEntries(outputs.map((name, index) => [name, floats(buffers[index])])));
    });
    return (feeds) =>
      new Promise((resolve, reject) => {
        const id = (asked += 1);
        waiting.set(id, { resolve, reject });
        model.send({ id }, undefined, inputs.map((name) => feeds[name].data.buffer));
      });
  }

  async function render({ model, el }) {
    const settings = model.get("settings");
    const root = make("div", { class: "gencaps-explorer gencaps-live" });
    el.append(root);
    el.live = await VIEWS[settings.view](root, settings, inKernel(model, settings));
  }

  return { render, route, rotated, scenes };
})();
