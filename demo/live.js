// Sends pictures of the visitor's webcam, one after the other, as long as the page's run takes them. The next waits for
// the answer to the last, so that a slow line carries fewer pictures and none that are old.
const video = element.querySelector('video');
const power = element.querySelector('button');
const said = element.querySelector('p');
const RATE = 15, WIDTH = 960, LEAVE = 20000; // pictures a second; pixels across; milliseconds in which a run must begin
let stream = null;

const show = sentence => {
  said.textContent = sentence;
  video.hidden = stream === null;
  power.disabled = stream !== null;
};

const encoded = () => new Promise(resolve => {
  const canvas = document.createElement('canvas');
  const scale = Math.min(1, WIDTH / video.videoWidth);
  [canvas.width, canvas.height] = [Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale)];
  canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
  canvas.toBlob(resolve, 'image/jpeg', 0.85);
});

const release = sentence => {
  stream.getTracks().forEach(track => track.stop());
  stream = video.srcObject = null;
  show(sentence);
};

const send = async () => {
  const address = document.querySelector('iframe.canvas').getAttribute('src').replace('viewer/', 'live/').replace(/\/$/, '');
  const began = performance.now();
  let taken = false;
  while (stream !== null) {
    const due = performance.now() + 1000 / RATE;
    if (!stream.active) return release('The webcam is gone.');
    let status = 0;
    try {
      status = (await fetch(address, { method: 'POST', body: await encoded() })).status;
    } catch { /* the line may come back */ }
    taken ||= status === 204;
    if (status === 404 || (status === 409 && (taken || performance.now() - began > LEAVE))) return release('');
    await new Promise(resolve => setTimeout(resolve, Math.max(0, due - performance.now())));
  }
};

power.addEventListener('click', async () => {
  if (!navigator.mediaDevices) {
    return show('Browsers lend their camera only to pages on this machine or behind https.');
  }
  power.disabled = true;
  try {
    const wanted = { facingMode: 'environment', width: { ideal: 1280 }, height: { ideal: 720 } };
    stream = video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
    await video.play();
  } catch {
    stream = null;
    return show('The camera cannot be used: allow it in the browser, and check that no other program has it.');
  }
  show('Move slowly, and sidewards.');
  document.querySelector('#live-webcam').click();
  send();
});
