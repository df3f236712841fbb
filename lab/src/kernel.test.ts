import { describe, expect, it } from 'vitest';
import { headerPackages, isImage } from './kernel.js';

describe('the packages of a kernel', () => {
  it('are images of the line itself, signed, for ordinary machines', () => {
    const names = [
      'linux-image-6.1.0-56-amd64',
      'linux-image-6.1.0-56-cloud-amd64',
      'linux-image-6.12.117+deb12-amd64',
      'linux-image-6.12.117+deb12-amd64-dbg',
      'linux-image-6.12.117+deb12-amd64-unsigned',
      'linux-image-6.12.117+deb12-rt-amd64',
      'linux-image-6.12-amd64',
    ];
    expect(names.filter((name) => isImage('6.1', name))).toEqual(['linux-image-6.1.0-56-amd64']);
    expect(names.filter((name) => isImage('6.12', name))).toEqual(['linux-image-6.12.117+deb12-amd64']);
  });

  it('have their build scripts under the line on 6.1 and under the release on 6.12', () => {
    expect(headerPackages('6.1', '6.1.0-56-amd64')).toEqual([
      'linux-headers-6.1.0-56-amd64',
      'linux-headers-6.1.0-56-common',
      'linux-kbuild-6.1',
    ]);
    expect(headerPackages('6.12', '6.12.117+deb12-amd64')).toEqual([
      'linux-headers-6.12.117+deb12-amd64',
      'linux-headers-6.12.117+deb12-common',
      'linux-kbuild-6.12.117+deb12',
    ]);
  });
});
