/** Owns finding and making elements with the type the caller expects; text goes in as text, never as markup. */

/**
 * The element with this id; a page without it is a broken build, so it throws.
 * @template {HTMLElement} T
 * @param {string} id
 * @param {new () => T} type
 * @returns {T}
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} #${id}`);
  return found;
}

/**
 * The first match inside `root`, of the type expected.
 * @template {HTMLElement} T
 * @param {ParentNode} root
 * @param {string} selector
 * @param {new () => T} type
 * @returns {T}
 */
export function find(root, selector, type) {
  const found = root.querySelector(selector);
  if (!(found instanceof type)) throw new Error(`index.html has no ${type.name} at ${selector}`);
  return found;
}

/**
 * A copy of the one element inside a <template>.
 * @param {string} templateId
 * @returns {HTMLElement}
 */
export function fromTemplate(templateId) {
  const root = byId(templateId, HTMLTemplateElement).content.firstElementChild;
  if (!(root instanceof HTMLElement)) throw new Error(`template #${templateId} is empty`);
  return /** @type {HTMLElement} */ (root.cloneNode(true));
}

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {string} className
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[K]}
 */
export function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}
