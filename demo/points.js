// Clicks become points in pixels of the frame's image, at whatever size the photo is shown; one near a point takes it away.
const NEAR = { mouse: 12, touch: 24, pen: 18 };
element.addEventListener('click', event => {
  const photo = event.target.closest('.pick');
  if (!photo || !props.value) return;
  const box = photo.getBoundingClientRect();
  const { points, width, height } = props.value;
  const across = width / box.width, down = height / box.height;
  const x = (event.clientX - box.left) * across, y = (event.clientY - box.top) * down;
  if (x < 0 || y < 0 || x >= width || y >= height) return;
  const distances = points.map(([a, b]) => Math.hypot((a - x) / across, (b - y) / down));
  const nearest = distances.indexOf(Math.min(...distances));
  const near = NEAR[event.pointerType] || NEAR.mouse;
  props.value = {
    ...props.value,
    points: distances[nearest] <= near
      ? points.filter((_, i) => i !== nearest)
      : [...points, [Math.floor(100 * x) / 100, Math.floor(100 * y) / 100]],
  };
  trigger('input');
});
