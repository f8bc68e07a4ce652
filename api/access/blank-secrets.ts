// Where text leaves for a log, an answer or a file: what would let its reader in is not in it.
const TOKEN = /th_[\w-]{43}/g;
const USERINFO = /(\/\/)[^/?#@\s]*@/g;
const SECRET_NAME = /^(?:access_?token|token|id_?token|auth|authorization|bearer|api_?key|password|passwd|pwd|secret|client_?secret|credentials?|x-amz-signature|signature)$/i;

/** Tokens of ours, and user and password of URLs. */
export const blankSecrets = (text: string): string => text.replace(TOKEN, 'th_***').replace(USERINFO, '$1***@');

/** For logs: names of the query stay, their values do not. */
export function blankUrl(url: string): string {
  const [path = '', query] = url.split(/\?(.*)/s);
  if (query === undefined) return blankSecrets(path);
  const names = query.split('&').map((pair) => (pair.includes('=') ? `${pair.slice(0, pair.indexOf('='))}=***` : '***'));
  return blankSecrets(`${path}?${names.join('&')}`);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}

/** What of a request's target is a secret in the wrong place: servers and proxies write targets down. Undefined: nothing. */
export function secretIn(url: string): string | undefined {
  if (/^[a-z][a-z0-9+.-]*:\/\/[^/?#]*@/i.test(url)) return 'user and password';
  if (new RegExp(TOKEN.source).test(decoded(url))) return 'a token';
  const query = url.split(/\?(.*)/s)[1] ?? '';
  const name = query.split('&').map((pair) => decoded(pair.split('=', 1)[0] ?? '')).find((one) => SECRET_NAME.test(one));
  return name === undefined ? undefined : `'${name}'`;
}
