// The script, module or jar that an interpreter was told to run, from its command line.

/** What an interpreter makes of its own arguments. */
interface Interpreter {
  /** Of the executable's name. */
  readonly exe: RegExp;
  /** Flags whose value is the next argument. */
  readonly with_value: ReadonlySet<string>;
  /** Flags after which no script follows: code on the command line. */
  readonly inline: ReadonlySet<string>;
  /** Subcommands before the script. */
  readonly commands?: ReadonlySet<string>;
  /** Cut off the script's name. */
  readonly extension: RegExp;
  /** What follows the flags is a class, unless it ends in the extension. */
  readonly runs_classes?: true;
  /** Flags whose value names the program, and how. */
  readonly named_by?: Readonly<Record<string, (value: string) => string | null>>;
}

const set = (text: string): ReadonlySet<string> => new Set(text.split(' '));

const lastName = (name: string): string => name.split('.').at(-1) ?? name;
const jar = (path: string): string => baseName(path).replace(/\.(jar|war)$/i, '').replace(/-\d[\w.]*(-SNAPSHOT)?$/, '');

const INTERPRETERS: readonly Interpreter[] = [
  { exe: /^(python|pypy)[\d.]*$/, with_value: set('-W -X -Q --check-hash-based-pycs'), inline: set('-c -'), extension: /\.pyw?$/, named_by: { '-m': (module) => module } },
  {
    exe: /^(node|nodejs)$/,
    with_value: set('-r --require --import --loader --experimental-loader --env-file --env-file-if-exists -C --conditions --title --cpu-prof-dir --diagnostic-dir --inspect-port --openssl-config --redirect-warnings --report-dir --report-directory --stack-trace-limit --dns-result-order --watch-path --icu-data-dir --max-http-header-size --unhandled-rejections --trace-event-categories --experimental-config-file --localstorage-file'),
    inline: set('-e --eval -p --print -pe -'),
    extension: /\.([cm]?[jt]s|jsx|tsx)$/,
  },
  { exe: /^(bun|deno)$/, with_value: set('-r --preload -c --config --import-map --env-file --location'), inline: set('-e --eval eval'), commands: set('run x serve'), extension: /\.([cm]?[jt]s|jsx|tsx)$/ },
  {
    exe: /^java$/,
    with_value: set('-cp -classpath --class-path -p --module-path --add-modules --add-opens --add-exports --add-reads --patch-module --limit-modules --upgrade-module-path'),
    inline: set('-version --version'),
    extension: /\.java$/,
    runs_classes: true,
    named_by: { '-jar': jar, '-m': (module) => lastName(module.split('/').at(-1) ?? module), '--module': (module) => lastName(module.split('/').at(-1) ?? module) },
  },
  { exe: /^ruby[\d.]*$/, with_value: set('-I -r -C -E -W --encoding'), inline: set('-e -'), extension: /\.rb$/ },
  { exe: /^php[\d.]*(-cgi)?$/, with_value: set('-d -c -S -t -z --define --php-ini --server --docroot'), inline: set('-r -i -v -'), extension: /\.(php|phar)$/, named_by: { '-f': (path) => scriptName(path, /\.php$/), '--file': (path) => scriptName(path, /\.php$/) } },
  { exe: /^perl[\d.]*$/, with_value: set('-I -M -m'), inline: set('-e -E -'), extension: /\.(pl|psgi)$/ },
  { exe: /^(ba|da|z|k|a)?sh$/, with_value: set('-o +o -O +O --rcfile --init-file'), inline: set('-c -s -'), extension: /\.(sh|bash|zsh)$/ },
  { exe: /^dotnet$/, with_value: set('--depsfile --runtimeconfig --additionalprobingpath --fx-version --roll-forward'), inline: set('--info --version run build test'), commands: set('exec'), extension: /\.(dll|exe)$/i },
  { exe: /^lua(jit)?[\d.]*$/, with_value: set('-l -e'), inline: set('-'), extension: /\.lua$/ },
];

/** Scripts that start somebody else's program: which of their arguments names it. */
const LAUNCHERS: Readonly<Record<string, (args: readonly string[]) => string | null>> = {
  gunicorn: (args) => valueOf(args, ['-n', '--name']) ?? application(args),
  uvicorn: application,
  hypercorn: application,
  daphne: application,
  granian: application,
  'waitress-serve': application,
  uwsgi: (args) => valueOf(args, ['--procname']) ?? fromNull(valueOf(args, ['--module', '-w']), applicationName) ?? fromNull(valueOf(args, ['--wsgi-file', '--file']), (path) => scriptName(path, /\.py$/)),
  celery: (args) => fromNull(valueOf(args, ['-A', '--app']), applicationName),
  flask: (args) => fromNull(valueOf(args, ['-A', '--app']), (app) => applicationName(scriptName(app, /\.py$/))),
};

function fromNull<T>(value: T | null, make: (value: T) => string | null): string | null {
  return value === null ? null : make(value);
}

/** Value of the first of these flags, as '-n x' or '--name=x'. */
function valueOf(args: readonly string[], flags: readonly string[]): string | null {
  for (const [at, arg] of args.entries()) {
    if (flags.includes(arg)) return args[at + 1] ?? null;
    const flag = flags.find((one) => one.startsWith('--') && arg.startsWith(`${one}=`));
    if (flag !== undefined) return arg.slice(flag.length + 1);
  }
  return null;
}

/** 'shop.wsgi:application' -> shop, 'app:create()' -> app. */
function applicationName(spec: string): string {
  const module = spec.split(':')[0] ?? spec;
  const shorter = module.replace(/\.(wsgi|asgi)$/, '');
  return shorter === '' ? module : shorter;
}

/** The argument that is written module:object; without one, the last that is a bare module. */
function application(args: readonly string[]): string | null {
  const spec = args.find((arg) => /^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(\(.*\))?$/.test(arg)) ?? args.findLast((arg, at) => /^[A-Za-z_][\w.]*$/.test(arg) && !(args[at - 1] ?? '').startsWith('-'));
  return spec === undefined ? null : applicationName(spec);
}

export function baseName(path: string): string {
  return path.split('/').filter((part) => part !== '').at(-1) ?? '';
}

const NOT_TELLING = set('index __main__ manage artisan rails rake rackup bin cli run start');
const NO_PLACE = set('dist build src lib bin out app public current release releases server node_modules .bin .output target');

/** Name of a script by its path; where many have the same name, of the folder that it is in. */
function scriptName(path: string, extension: RegExp, cwd = ''): string {
  const name = baseName(path).replace(extension, '');
  const folders = (path.startsWith('/') ? path : `${cwd}/${path}`).split('/').filter((part) => part !== '' && part !== '.').slice(0, -1);
  const modules = folders.indexOf('node_modules');
  if (modules > 0) return folders[modules - 1] as string;
  if (!NOT_TELLING.has(name)) return name;
  return folders.findLast((folder) => !NO_PLACE.has(folder)) ?? name;
}

const MAIN_CLASSES: Readonly<Record<string, string>> = {
  'org.apache.catalina.startup.Bootstrap': 'tomcat',
  'kafka.Kafka': 'kafka',
  'org.elasticsearch.bootstrap.Elasticsearch': 'elasticsearch',
  'org.elasticsearch.server/org.elasticsearch.bootstrap.Elasticsearch': 'elasticsearch',
  'org.apache.zookeeper.server.quorum.QuorumPeerMain': 'zookeeper',
  'org.apache.cassandra.service.CassandraDaemon': 'cassandra',
};

/** What programs write over their own arguments. */
const TITLES: readonly (readonly [RegExp, (match: RegExpExecArray) => string])[] = [
  [/^gunicorn: (?:master|worker) \[(.+)\]$/, (match) => applicationName(match[1] as string)],
  [/^php-fpm: pool (\S+)/, (match) => (match[1] === 'www' ? 'php-fpm' : (match[1] as string))],
  [/^puma[: ].*\[([^\]]+)\]\s*$/, (match) => match[1] as string],
  [/^unicorn (?:master|worker).* -c \S*?([^/\s]+)\/(?:config|current)\b/, (match) => match[1] as string],
];

export function splitArguments(cmdline: string): string[] {
  return cmdline.split(cmdline.includes('\0') ? '\0' : ' ').filter((arg) => arg !== '');
}

function runBy(interpreter: Interpreter, args: readonly string[], cwd: string): string | null {
  let at = 0;
  let commands = interpreter.commands;
  for (; at < args.length; at += 1) {
    const arg = args[at] as string;
    const namedBy = interpreter.named_by?.[arg];
    if (namedBy !== undefined) {
      const value = args[at + 1];
      if (value === undefined) return null;
      const launcher = LAUNCHERS[value];
      return launcher?.(args.slice(at + 2)) ?? namedBy(value);
    }
    if (interpreter.inline.has(arg)) return null;
    if (interpreter.with_value.has(arg)) at += 1;
    else if (commands?.has(arg) === true) commands = undefined;
    else if (!arg.startsWith('-') && !arg.startsWith('@') && !arg.startsWith('+')) break;
  }
  const script = args[at];
  if (script === undefined) return null;
  if (interpreter.runs_classes === true && !interpreter.extension.test(script)) return MAIN_CLASSES[script] ?? (script.startsWith('org.springframework.boot.loader.') ? null : lastName(script));
  const launcher = LAUNCHERS[baseName(script).replace(interpreter.extension, '')];
  if (launcher !== undefined) return launcher(args.slice(at + 1)) ?? baseName(script);
  return scriptName(script, interpreter.extension, cwd);
}

/** Null when the executable is no interpreter, or its arguments name no program. */
export function programOf(exe: string, cmdline: string, cwd: string): string | null {
  const line = cmdline.trim();
  for (const [pattern, name] of TITLES) {
    const match = pattern.exec(line);
    if (match !== null) return name(match);
  }
  const args = splitArguments(cmdline);
  const own = LAUNCHERS[exe];
  if (own !== undefined) return own(args.slice(1)) ?? exe;
  if (exe === 'beam.smp') return fromNull(valueOf(args, ['-sname', '-name', '--sname', '--name']), (name) => name.split('@')[0] ?? name);
  const interpreter = INTERPRETERS.find((one) => one.exe.test(exe));
  return interpreter === undefined ? null : runBy(interpreter, args.slice(1), cwd);
}
