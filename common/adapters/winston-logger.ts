import winston from 'winston';
import { describeError } from '../errors.js';
import type { LogFields, Logger, LogLevel } from '../logger.js';

/** JSON lines on stderr for machines, text for people at a terminal. */
export function createWinstonLogger(options: { level: LogLevel; format: 'json' | 'text' }): Logger {
  const { combine, timestamp, json, printf } = winston.format;
  const text = printf(({ timestamp: time, level, message, ...fields }) => {
    const rest = Object.keys(fields).length > 0 ? ` ${JSON.stringify(fields)}` : '';
    return `${String(time)} ${level.padEnd(5)} ${String(message)}${rest}`;
  });
  const console = new winston.transports.Console({
    stderrLevels: ['debug', 'info', 'warn', 'error'],
  });
  return wrap(
    winston.createLogger({
      level: options.level,
      format: combine(timestamp(), options.format === 'json' ? json() : text),
      // eslint-disable-next-line @typescript-eslint/no-unsafe-class-instance-assignment -- winston's own types disagree
      transports: [console],
    }),
  );
}

function wrap(target: winston.Logger): Logger {
  const write =
    (level: LogLevel) =>
    (message: string, fields: LogFields = {}, error?: unknown): void => {
      const errorFields =
        error === undefined
          ? {}
          : {
              error: describeError(error),
              stack: error instanceof Error ? error.stack : undefined,
            };
      target.log(level, message, { ...fields, ...errorFields });
    };
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    child: (fields) => wrap(target.child(fields)),
  };
}
