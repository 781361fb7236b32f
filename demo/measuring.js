// Escape ends measuring, also while the viewer, a page of its own, has the keyboard.
const leave = event => { if (event.key === 'Escape') document.querySelector('#measure.on')?.click(); };
const listen = frame => frame.contentWindow?.addEventListener('keydown', leave);
document.addEventListener('keydown', leave);
document.addEventListener('load', event => { if (event.target.matches?.('iframe.canvas')) listen(event.target); }, true);
document.querySelectorAll('iframe.canvas').forEach(listen);
