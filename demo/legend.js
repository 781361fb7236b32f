// A tick shows or hides a class, a click on a name or a number selects; the rest the server knows.
element.addEventListener('change', event => {
  if (!event.target.matches('input[data-class]')) return;
  const shown = [...element.querySelectorAll('input[data-class]:checked')].map(box => Number(box.dataset.class));
  props.value = { ...props.value, shown, select: null };
  trigger('input');
});
element.addEventListener('click', event => {
  const button = event.target.closest('button[data-select]');
  if (!button) return;
  props.value = { ...props.value, shown: null, select: button.dataset.select.split(',').map(Number) };
  trigger('input');
});
