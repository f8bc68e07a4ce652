// Where finished traces go, and what is sent along. Secrets come from a file or the environment: command lines can be read by everyone.
import { readFileSync } from 'node:fs';
import { TracehouseError } from '../../schema/errors.ts';

export type OtlpProtocol = 'protobuf' | 'json';
export type OtlpCompression = 'gzip' | 'none';

export interface OtlpTarget {
  readonly url: string;
  readonly protocol: OtlpProtocol;
  readonly compression: OtlpCompression;
  readonly headers: Readonly<Record<string, string>>;
}

const NAME = /^[!#$%&'*+.^_`|~\w-]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
export const HEADERS_VARIABLE = 'TRACEHOUSE_OTLP_HEADERS';

function refuse(message: string, mend: string): never {
  throw new TracehouseError('otlp-settings', message, { mend, exit_code: 2 });
}

function header(where: string, name: string, value: string): [string, string] {
  // The value may be a secret: it is never shown.
  if (!NAME.test(name) || !VALUE.test(value)) refuse(`${where}: '${NAME.test(name) ? name : '...'}' is no header`, 'write name: value');
  return [name.toLowerCase(), value];
}

/** Lines 'name: value'; empty ones and those that begin with # say nothing. */
export function headersOfFile(path: string): Record<string, string> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    return refuse(`${path} cannot be read: ${(error as Error).message}`, 'name a file of lines "name: value" with --otlp-headers-file');
  }
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('#'));
  return Object.fromEntries(lines.map((line, at) => {
    const colon = line.indexOf(':');
    if (colon < 1) refuse(`${path}: header ${at + 1} has no colon`, 'write name: value');
    return header(path, line.slice(0, colon).trim(), line.slice(colon + 1).trim());
  }));
}

/** 'name=value,name=value', values percent-encoded, as OTEL_EXPORTER_OTLP_HEADERS is written. */
export function headersOfVariable(text: string): Record<string, string> {
  return Object.fromEntries(text.split(',').filter((pair) => pair.trim() !== '').map((pair) => {
    const [name = '', ...rest] = pair.split('=');
    let value = rest.join('=').trim();
    try {
      value = decodeURIComponent(value);
    } catch {
      refuse(`${HEADERS_VARIABLE}: a value is not percent-encoded`, 'write name=value,name=value');
    }
    if (rest.length === 0) refuse(`${HEADERS_VARIABLE}: a header has no value`, 'write name=value,name=value');
    return header(HEADERS_VARIABLE, name.trim(), value);
  }));
}

/** Without a path, OTLP's own is meant. */
export function otlpUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : refuse(`'${text}' is no URL`, 'write --otlp-endpoint http://HOST:4318');
  if (url.protocol !== 'http:' && url.protocol !== 'https:') refuse(`${url.protocol}// is not sent to`, 'OTLP over HTTP: http:// or https://');
  if (url.username !== '' || url.password !== '') refuse('the endpoint holds a user name or a password', `put an authorization header into --otlp-headers-file or ${HEADERS_VARIABLE}`);
  if (url.pathname === '/') url.pathname = '/v1/traces';
  url.hash = '';
  return url.href;
}

export interface OtlpSettings {
  readonly otlpEndpoint?: string;
  readonly otlpProtocol?: OtlpProtocol;
  readonly otlpCompression?: OtlpCompression;
  readonly otlpHeadersFile?: string;
}

/** Undefined: nothing is sent. Error: otlp-settings. */
export function otlpTarget(settings: OtlpSettings, environment: Readonly<Record<string, string | undefined>> = process.env): OtlpTarget | undefined {
  if (settings.otlpEndpoint === undefined) return undefined;
  return {
    url: otlpUrl(settings.otlpEndpoint),
    protocol: settings.otlpProtocol ?? 'protobuf',
    compression: settings.otlpCompression ?? 'gzip',
    headers: { ...headersOfVariable(environment[HEADERS_VARIABLE] ?? ''), ...(settings.otlpHeadersFile === undefined ? {} : headersOfFile(settings.otlpHeadersFile)) },
  };
}
