// Paint on the photo what moves. The mask is the canvas: where it is not clear, something moves.
const COLOUR = '#ff3b6b';
const size = () => Number(document.querySelector('#brush input[type=range]')?.value || 24);
const erasing = () => document.querySelector('#brush-kind input:checked')?.value === 'erase';
let shown = null, last = null;

const show = () => {
  const canvas = element.querySelector('canvas');
  const { value } = props;
  if (!canvas || !value || value.mask === shown) return;
  shown = value.mask;
  const context = canvas.getContext('2d');
  const mask = new Image();
  mask.onload = () => {
    if (value.mask !== shown) return;
    context.globalCompositeOperation = 'source-over';
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.drawImage(mask, 0, 0);
  };
  mask.src = value.mask;
};
watch('value', show);
setTimeout(show);

const place = event => {
  const box = event.target.getBoundingClientRect();
  const scale = event.target.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale, scale];
};
const stroke = event => {
  const [x, y, scale] = place(event);
  const context = event.target.getContext('2d');
  context.globalCompositeOperation = erasing() ? 'destination-out' : 'source-over';
  context.strokeStyle = COLOUR;
  context.lineWidth = size() * scale;
  context.lineCap = context.lineJoin = 'round';
  context.beginPath();
  context.moveTo(...(last || [x, y]));
  context.lineTo(x, y);
  context.stroke();
  last = [x, y];
};
element.addEventListener('pointerdown', event => {
  if (event.target.tagName !== 'CANVAS' || event.button) return;
  event.target.setPointerCapture(event.pointerId);
  last = null;
  stroke(event);
});
element.addEventListener('pointermove', event => last && stroke(event));
const end = event => {
  if (!last) return;
  last = null;
  shown = event.target.toDataURL('image/png');
  props.value = { ...props.value, mask: shown };
  trigger('input');
};
element.addEventListener('pointerup', end);
element.addEventListener('pointercancel', end);
