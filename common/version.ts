/** The version of this Hatoba; package.json says the same (a test compares them). */
export const HATOBA_VERSION = '0.1.0';
