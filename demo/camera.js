// Takes pictures with the visitor's camera and drops them where files are dropped. Never mirrored: a mirror image is
// a picture of another world.
const video = element.querySelector('video');
const [power, shutter] = element.querySelectorAll('button');
const said = element.querySelector('p');
let stream = null, taken = 0;

const show = sentence => {
  said.textContent = sentence;
  video.hidden = shutter.hidden = stream === null;
  power.textContent = stream === null ? 'Start the camera' : 'Stop';
};

power.addEventListener('click', async () => {
  if (stream !== null) {
    stream.getTracks().forEach(track => track.stop());
    stream = video.srcObject = null;
    return show('');
  }
  if (!navigator.mediaDevices) {
    return show('Browsers lend their camera only to pages on this machine or behind https.');
  }
  try {
    const wanted = { facingMode: 'environment', width: { ideal: 1920 }, height: { ideal: 1440 } };
    stream = video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
    await video.play();
    show('Move a step between two pictures.');
  } catch {
    stream = null;
    show('The camera cannot be used: allow it in the browser, and check that no other program has it.');
  }
});

shutter.addEventListener('click', () => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext('2d').drawImage(video, 0, 0);
  canvas.toBlob(blob => {
    const dropped = new DataTransfer();
    dropped.items.add(new File([blob], `camera-${++taken}.jpg`, { type: 'image/jpeg' }));
    const input = document.querySelector('#files input[type=file]');
    input.files = dropped.files;
    input.dispatchEvent(new Event('change', { bubbles: true }));
  }, 'image/jpeg', 0.92);
});
