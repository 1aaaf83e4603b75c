import { Help, type HelpConfiguration } from 'commander';

const usual = new Help();

/** Help in the order of the source; a default that is nothing is not told of. */
export const HELP: HelpConfiguration = {
  sortSubcommands: false,
  optionDescription: (option) =>
    usual.optionDescription(option).replace(/ ?\(default: (?:false|0|""|\[\])\)$/, ''),
};
