// Knocks: who waits to be let in, as the server reports it, and which of them are answered.

import { displayName } from './display-name.js';

/**
 * @import { ServerMessage } from '../types.js'
 *
 * @typedef {object} Knock
 * @property {string} id
 * @property {string} name '' where unknown
 * @property {boolean} answered the server has not confirmed it yet
 */

/** The server lets at most so many wait. */
const MAX_KNOCKS = 20;
const MAX_ID = 64;

/**
 * The list after a message of the server.
 * @param {Knock[]} knocks
 * @param {Extract<ServerMessage, {type: 'knock'}>} message
 * @returns {Knock[]}
 */
export function withKnock(knocks, { id, name, gone }) {
  if (typeof id !== 'string' || id.length > MAX_ID) return knocks;
  if (gone) return knocks.filter((each) => each.id !== id);
  const knock = { id, name: displayName(name), answered: false };
  if (knocks.some((each) => each.id === id)) return knocks.map((each) => (each.id === id ? { ...knock, answered: each.answered } : each));
  return knocks.length < MAX_KNOCKS ? [...knocks, knock] : knocks;
}

/**
 * The list after an answer. @param {Knock[]} knocks @param {string} id
 */
export function withAnswer(knocks, id) {
  return knocks.map((each) => (each.id === id ? { ...each, answered: true } : each));
}

/**
 * The list after an error of the server, which may be about an answer: that can be given again, unless nobody waits there.
 * @param {Knock[]} knocks
 * @param {string} code
 */
export function withoutAnswers(knocks, code) {
  if (code === 'no-such-peer') return knocks.filter(({ answered }) => !answered);
  return knocks.map((each) => ({ ...each, answered: false }));
}
