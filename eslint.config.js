import tseslint from 'typescript-eslint';
import prettier from 'eslint-config-prettier';

/** Purity of the cores: no clock, no randomness, no process, no I/O. */
const corePurity = {
  'no-restricted-globals': [
    'error',
    ...['Date', 'setTimeout', 'setInterval', 'setImmediate', 'process', 'console', 'fetch'].map(
      (name) => ({
        name,
        message: 'core/ is pure: take time, randomness and effects as arguments.',
      }),
    ),
  ],
  'no-restricted-properties': [
    'error',
    { object: 'Math', property: 'random', message: 'core/ is pure: take a Random.' },
  ],
  'no-restricted-imports': [
    'error',
    {
      patterns: [
        { group: ['node:*', '@grpc/*', 'etcd3', 'winston', 'koffi'], message: 'core/ is pure.' },
      ],
    },
  ],
};

export default tseslint.config(
  { ignores: ['node_modules', 'dist', 'proto/gen', '**/*.cjs', 'eslint.config.js'] },
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true },
      ],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_' },
      ],
      // `return value.problem(…)` reads well where undefined is the answer
      '@typescript-eslint/no-confusing-void-expression': 'off',
      '@typescript-eslint/no-non-null-assertion': 'error',
      'no-restricted-properties': [
        'error',
        {
          object: 'process',
          property: 'env',
          message: 'Only config.ts files read the environment.',
        },
      ],
      'max-lines': ['error', { max: 500, skipBlankLines: true, skipComments: true }],
      'max-lines-per-function': ['error', { max: 80, skipBlankLines: true, skipComments: true }],
      'max-params': ['error', 5],
      complexity: ['error', 15],
      'max-depth': ['error', 4],
    },
  },
  { files: ['**/core/**/*.ts', 'common/model/**/*.ts'], ignores: ['test/**'], rules: corePurity },
  {
    files: ['**/config.ts', 'common/adapters/**/*.ts'],
    rules: { 'no-restricted-properties': 'off' },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      'max-lines-per-function': 'off',
      'no-restricted-properties': 'off',
      'no-restricted-imports': 'off', // tests of a core lie under a folder core/, too
      '@typescript-eslint/no-unused-expressions': 'off',
      // mocha and node:test style callbacks return promises that the runner awaits
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      'no-restricted-globals': [
        'error',
        { name: 'setTimeout', message: 'Tests do not sleep: use FakeClock, or eventually().' },
      ],
    },
  },
  {
    files: ['test/support/**/*.ts', 'bench/**/*.ts'],
    rules: {
      'no-restricted-globals': 'off',
      'max-lines-per-function': 'off',
      'no-restricted-properties': 'off',
    },
  },
  prettier,
);
