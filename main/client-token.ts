// The token that a verb sends: from TRACEHOUSE_TOKEN or a file. A flag's value could be read by everybody in the list of processes.
import { readFileSync } from 'node:fs';
import { TracehouseError } from '../schema/errors.ts';

const LOOPBACK_NAME = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

export interface ClientTokenOptions {
  readonly tokenFile?: string;
}

/** Errors: url, token-file. */
export function requirePlainUrl(flag: string, text: string): URL {
  if (!/^https?:\/\//.test(text) || !URL.canParse(text)) throw new TracehouseError('url', `${flag} ${text.replace(/\/\/[^/]*@/, '//***@')} is no URL`, { mend: 'write http://127.0.0.1:7070', exit_code: 2 });
  const url = new URL(text);
  if (url.username !== '' || url.password !== '' || url.search !== '') throw new TracehouseError('url', `${flag}: the URL holds a user, a password or a query`, { mend: 'put the token into TRACEHOUSE_TOKEN or a file for --token-file', exit_code: 2 });
  return url;
}

/** For requests to this URL. Error: token-file. */
export function clientToken(url: URL, { tokenFile }: ClientTokenOptions, log: (line: string) => void = (line) => console.error(`tracehouse: ${line}`)): string | undefined {
  let token = process.env['TRACEHOUSE_TOKEN'];
  if (tokenFile !== undefined) {
    try {
      token = readFileSync(tokenFile, 'utf8');
    } catch (error) {
      throw new TracehouseError('token-file', `cannot read --token-file: ${(error as Error).message}`, { mend: 'name a file that holds the token and nothing else', exit_code: 2, cause: error });
    }
  }
  token = token?.trim();
  if (token === undefined || token === '') return undefined;
  // What is no token may be any secret: it is not shown.
  if (!/^[\x21-\x7e]+$/.test(token)) throw new TracehouseError('token-file', `${tokenFile === undefined ? 'TRACEHOUSE_TOKEN' : tokenFile} holds no token`, { mend: 'it must be one word, as `tracehouse token create` prints it', exit_code: 2 });
  if (url.protocol === 'http:' && !LOOPBACK_NAME.test(url.hostname)) log(`the token goes to ${url.host} unencrypted: use https:// unless the network is to be trusted`);
  return token;
}
