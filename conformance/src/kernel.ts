/** Versions of Linux, for items whose answer changed over time. */

/** `seed` is the commit that brought no-IOMMU mode (merged for 4.5). */
export type Version = 'seed' | `${number}.${number}`;

const rank = (version: Version): number => {
  const [major = 0, minor = 0] = (version === 'seed' ? '4.5' : version).split('.').map(Number);
  return major * 1000 + minor;
};

/** The version of what `uname -r` says: `6.1.0-41-amd64` is 6.1. */
export const versionOf = (release: string): Version => /^\d+\.\d+/.exec(release)?.[0] as Version;

export const atLeast = (version: Version, wanted: Version): boolean => rank(version) >= rank(wanted);
