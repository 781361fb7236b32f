// A click becomes a place in pixels of the frame's image, at whatever size the photo is shown.
element.addEventListener('click', event => {
  const photo = event.target.closest('.pick');
  if (!photo || !props.value) return;
  const box = photo.getBoundingClientRect();
  const { width, height } = props.value;
  const x = (event.clientX - box.left) * width / box.width, y = (event.clientY - box.top) * height / box.height;
  props.value = { ...props.value, clicked: [x, y] };
  trigger('input');
});
