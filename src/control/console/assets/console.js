// Keeps a page as it is now, and writes times as the reader's browser would. Without it every page works, but stands
// still.

const ASK_EVERY_MS = 15_000
/** However much changes: what a person asks for besides must not be too much. */
const REST_MS = 1_000
const policy = globalThis.trustedTypes?.createPolicy('countersign', { createHTML: (text) => text })

/** Asks for this page again, and takes over what has changed in its live parts. */
async function refresh() {
  const response = await fetch(location.href, { headers: { accept: 'text/html' }, redirect: 'manual' })
  if (response.type === 'opaqueredirect' || response.status === 401) {
    location.reload()
    return
  }
  if (!response.ok) {
    // Not now: asked too often, or something is away.
    isStale = response.status === 429 || response.status === 503
    return
  }
  const text = await response.text()
  // Parsed by DOMParser nothing runs; it comes from this console, which escapes what it shows.
  const fresh = new DOMParser().parseFromString(policy ? policy.createHTML(text) : text, 'text/html')
  for (const old of document.querySelectorAll('[data-live]')) {
    const now = fresh.getElementById(old.id)
    if (!now) continue
    // What somebody is writing in stays, unless what it is for has changed.
    const { key } = old.dataset
    if (key !== undefined && key === now.dataset.key) continue
    const focused = old.contains(document.activeElement) ? document.activeElement : null
    const place = focused?.closest('[id]')?.id
    if (written(old) !== written(now)) {
      old.replaceChildren(...document.adoptNode(now).childNodes)
      if (key !== undefined) old.dataset.key = now.dataset.key
      if (place) document.getElementById(place)?.querySelector('a, button, textarea')?.focus()
    }
  }
  write()
}

let resting = false
let isStale = false

/** Refreshes now, or once it has rested from the time before. */
function refreshSoon() {
  isStale = true
  if (resting) return
  resting = true
  isStale = false
  refresh()
    .catch(() => undefined)
    .finally(() => {
      setTimeout(() => {
        resting = false
        if (isStale) refreshSoon()
      }, REST_MS)
    })
}

/** What a part says, but for its times, which run by themselves: nothing is read out again because time has passed. */
function written(part) {
  const copy = part.cloneNode(true)
  for (const time of copy.querySelectorAll('time')) time.textContent = ''
  return copy.innerHTML
}

const MOMENT = new Intl.DateTimeFormat([], {
  day: 'numeric',
  month: 'short',
  year: 'numeric',
  hour: '2-digit',
  minute: '2-digit',
  timeZoneName: 'short',
})

/** Moments in the reader's own time, with its zone; deadlines as what is left. */
function write() {
  for (const time of document.querySelectorAll('time[data-moment]')) {
    time.textContent = MOMENT.format(new Date(time.dateTime))
  }
  for (const time of document.querySelectorAll('time[data-deadline]')) {
    time.textContent = left(new Date(time.dateTime) - Date.now())
  }
}

function left(ms) {
  if (ms <= 0) return 'over'
  const s = Math.ceil(ms / 1000)
  const minutes = Math.floor(s / 60)
  if (minutes >= 60) return `${Math.ceil(minutes / 60)} h left`
  return minutes > 0 ? `${minutes}:${String(s % 60).padStart(2, '0')} left` : `${s} s left`
}

write()
setInterval(write, 1000)
if (document.querySelector('[data-live]')) {
  const live = new EventSource('/live')
  live.addEventListener('change', refreshSoon)
  // Something may have been missed: since the page was made, or after a break.
  live.addEventListener('open', refreshSoon)
  // Closed for good: nobody is signed in any more, or there are too many pages. Then this one asks by itself.
  live.addEventListener('error', () => {
    if (live.readyState !== EventSource.CLOSED) return
    refreshSoon()
    setInterval(refreshSoon, ASK_EVERY_MS)
  })
}

/** A form whose button asks for a passkey is sent once the browser has one. */
document.addEventListener('submit', (event) => {
  const { target: form, submitter: button } = event
  const answer = form.elements.namedItem('response')
  if (!button?.dataset.passkey || !answer || answer.value !== '') return
  event.preventDefault()
  button.disabled = true
  askPasskey(button.dataset.passkey, JSON.parse(button.dataset.options)).then(
    (credential) => {
      button.disabled = false
      answer.value = JSON.stringify(credential)
      form.requestSubmit(button)
    },
    (error) => {
      button.disabled = false
      const said = form.querySelector('[data-said]') ?? form.appendChild(document.createElement('p'))
      said.dataset.said = ''
      said.setAttribute('role', 'alert')
      said.textContent = `Nothing was sent: the browser gave no passkey (${error.name}).`
    },
  )
})

/** By `navigator.credentials`, whose bytes travel in base64url. */
async function askPasskey(kind, options) {
  const listed = (list = []) => list.map((one) => ({ ...one, id: toBytes(one.id) }))
  const publicKey = { ...options, challenge: toBytes(options.challenge) }
  if (kind === 'create') {
    publicKey.user = { ...options.user, id: toBytes(options.user.id) }
    publicKey.excludeCredentials = listed(options.excludeCredentials)
  } else publicKey.allowCredentials = listed(options.allowCredentials)
  const { id, rawId, type, response } = await navigator.credentials[kind]({ publicKey })
  const names = kind === 'create' ? ['attestationObject'] : ['authenticatorData', 'signature']
  const answer = {}
  for (const name of ['clientDataJSON', ...names]) answer[name] = toText(response[name])
  return { id, rawId: toText(rawId), type, clientExtensionResults: {}, response: answer }
}

function toBytes(text) {
  return Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0))
}

function toText(buffer) {
  const letters = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte))
  return btoa(letters.join('')).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')
}
