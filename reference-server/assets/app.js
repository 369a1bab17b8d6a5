// What pages do beyond links and forms. Each part is an addition: without it, the page still works.
(() => {
  'use strict';
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Times in the reader's own zone.
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'short' });
  function showTimes() {
    for (const time of all('time[datetime]:not([data-shown])')) {
      const at = new Date(time.dateTime);
      if (isNaN(at)) continue;
      time.textContent = format.format(at);
      time.title = time.dateTime;
      time.dataset.shown = '';
    }
  }

  // One-time links: the secret, 43 characters, stands behind the #, where no server sees it, and not for long.
  function takeLink() {
    const field = document.querySelector('[data-link]');
    if (!field || !location.hash) return;
    const secret = location.hash.slice(1);
    history.replaceState(null, '', location.pathname);
    const isWhole = /^[\w-]{43}$/.test(secret);
    document.querySelector('[data-link-problem]').hidden = isWhole;
    if (!isWhole) return;
    field.value = secret;
    field.closest('label').hidden = true;
    sayWhose(field.value);
  }

  // The name that goes with the link, which the server could not know before.
  async function sayWhose(link) {
    const said = document.querySelector('[data-whose]');
    if (!said) return;
    const answer = await fetch('/join/whose', { method: 'POST', body: new URLSearchParams({ link }) });
    if (!answer.ok) return;
    said.querySelector('strong').textContent = await answer.text();
    said.hidden = false;
  }

  // Copying, with the text selected for the hand where the browser does not let us.
  async function copy(button) {
    const source = document.getElementById(button.dataset.copy);
    const text = source.value ?? source.textContent;
    const said = button.parentElement.querySelector('[data-copied]');
    let words = 'Copied.';
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      if (source.select) { source.focus(); source.select(); }
      else { getSelection().selectAllChildren(source); }
      words = 'Selected: press Ctrl+C (⌘C) to copy.';
    }
    if (said) said.textContent = words;
  }

  // Secrets leave the page when the reader leaves it, so that "back" shows none.
  function wipe() {
    for (const secret of all('[data-secret]')) {
      if ('value' in secret) secret.value = '';
      secret.textContent = '';
    }
  }

  // "I saved it" comes last: it opens the way on.
  function gate(box) {
    const way = document.getElementById(box.dataset.gate);
    if (way) way.toggleAttribute('inert', !box.checked);
  }

  // One choice of several shown at a time.
  function pick(select) {
    for (const part of all(`[data-pick="${select.id}"]`)) part.hidden = part.dataset.value !== select.value;
  }

  // Buttons that need the name typed first.
  function confirmName(field) {
    field.form.querySelector('button').disabled = field.value.trim() !== field.dataset.confirm;
  }

  // An answer that is half typed stays when somebody else is faster: its card is put into what replaces
  // the list, and says why it is there. Cards that nobody types into go.
  function keepTyped(list, fresh) {
    for (const card of all('[data-task]', list)) {
      const field = card.querySelector('textarea');
      if (fresh.getElementById(card.id)) {
        card.removeAttribute('hx-morph-skip');
        card.querySelector('[data-answered]')?.remove();
      } else if (field.value.trim() && !('sent' in field.form.dataset)) {
        if (!card.hasAttribute('hx-morph-skip')) sayAnswered(card, field.form);
        const place = document.createElement(card.tagName);
        place.id = card.id;
        let before = card.previousElementSibling;
        while (before && !(before.id && fresh.getElementById(before.id))) before = before.previousElementSibling;
        if (before) fresh.getElementById(before.id).after(place);
        else fresh.getElementById(list.id)?.prepend(place);
      }
    }
  }

  function sayAnswered(card, form) {
    const notice = document.getElementById('answered').content.firstElementChild.cloneNode(true);
    notice.dataset.answered = '';
    notice.querySelector('a').href = card.dataset.task;
    card.setAttribute('hx-morph-skip', '');
    form.before(notice);
    document.getElementById('told').textContent = `${card.querySelector('strong').textContent}: ${notice.firstChild.data}`;
  }

  function discard(button) {
    button.closest('[data-task]').remove();
    document.getElementById('main').focus();
  }

  // Told by the browser when somebody is needed: by one page of all, also in the background.
  function notifications() {
    const card = document.querySelector('[data-notifications]');
    if (!('Notification' in window) || !navigator.locks) return;
    if (card) {
      const state = card.querySelector('[data-notifications-state]');
      const show = () => {
        state.textContent = { granted: 'They are allowed.', denied: 'The browser was told to show none: change it in its settings.', default: '' }[Notification.permission];
        card.querySelector('button').disabled = Notification.permission !== 'default';
      };
      card.hidden = false;
      show();
      card.querySelector('button').onclick = () => Notification.requestPermission().then(show);
    }
    if (Notification.permission !== 'granted' || !document.getElementById('live')) return;
    navigator.locks.request('wst-notify', () => new Promise((done) => {
      const events = new EventSource('/live?notify=true');
      events.addEventListener('needs-you', (event) => {
        const need = JSON.parse(event.data);
        const shown = new Notification(need.title, { body: need.body, tag: need.url });
        shown.onclick = () => { window.focus(); location.assign(need.url); };
      });
      addEventListener('pagehide', () => { events.close(); done(); });
    }));
  }

  // A form that mints something is sent once: the answer to a double click would show no secret.
  addEventListener('submit', (event) => {
    event.target.dataset.sent = '';
    const once = event.target.elements?.namedItem('once');
    if (!once) return;
    if ('sent' in once.dataset) event.preventDefault();
    once.dataset.sent = '';
  });
  addEventListener('click', (event) => {
    const button = event.target.closest?.('[data-copy]');
    if (button) copy(button);
    const discarded = event.target.closest?.('[data-discard]');
    if (discarded) discard(discarded);
  });
  addEventListener('input', (event) => {
    if (event.target.form) delete event.target.form.dataset.sent;
    if (event.target.dataset?.confirm !== undefined) confirmName(event.target);
  });
  addEventListener('change', (event) => {
    if (event.target.dataset?.gate) gate(event.target);
    if (event.target.dataset?.picker !== undefined) pick(event.target);
  });
  addEventListener('pagehide', wipe);
  // A page that comes back out of the browser's memory has missed something.
  addEventListener('pageshow', (event) => { if (event.persisted) location.reload(); });
  document.addEventListener('htmx:before:swap', (event) => {
    for (const { target, fragment } of event.detail.tasks) if (target?.id === 'needs') keepTyped(target, fragment);
  });
  document.addEventListener('htmx:after:swap', showTimes);
  // The login is over, or the server is another one: the page asks for itself, and is led to the login.
  const stale = (is) => document.getElementById('stale')?.toggleAttribute('hidden', !is);
  document.addEventListener('htmx:sse:after:connection', () => stale(false));
  document.addEventListener('htmx:sse:error', (event) => {
    stale(true);
    if ([401, 403, 404].includes(event.detail?.status)) location.reload();
  });

  showTimes();
  takeLink();
  all('[data-gate]').forEach(gate);
  all('[data-picker]').forEach(pick);
  all('[data-confirm]').forEach(confirmName);
  notifications();
})();
