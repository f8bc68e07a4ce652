// Requests that came over the socket file in the data folder: whoever can open it owns the data.
import type { IncomingMessage } from 'node:http';

const local = new WeakSet<IncomingMessage>();

export const markLocal = (request: IncomingMessage): void => void local.add(request);
export const isLocal = (request: IncomingMessage): boolean => local.has(request);
