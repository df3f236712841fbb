import { describe, expect, it } from 'vitest';
import { ScriptedKernel } from '../testing/scripted-kernel.js';
import { OwnDescriptor } from './own-descriptor.js';

const open = () => {
  const kernel = new ScriptedKernel();
  const fd = kernel.system.open('/dev/iommu', 2);
  return { kernel, fd, own: new OwnDescriptor(kernel.system, fd, 70, 'the iommufd') };
};

describe('a descriptor that is ours to close', () => {
  it('is closed once, and not again at process exit', () => {
    const { kernel, fd, own } = open();
    expect([...kernel.exits.values()]).toEqual([{ phase: 70, step: { call: 'close', fd } }]);
    own.close();
    own.close();
    expect(kernel.log.filter((line) => line.startsWith('close'))).toEqual(['close /dev/iommu']);
    expect([kernel.clean, own.closed]).toEqual([true, true]);
    expect(() => own.check('IOMMU_DESTROY')).toThrow('the iommufd was closed');
  });

  it('stays open under a call on another thread, and is closed after it', async () => {
    const { kernel, own } = open();
    let finish = (_value: number): void => {};
    const call = own.during(new Promise<number>((resolve) => (finish = resolve)));
    own.close();
    expect([own.closed, kernel.open.size]).toEqual([true, 1]);
    finish(5);
    expect(await call).toBe(5);
    expect(kernel.clean).toBe(true);
  });

  it('is closed after a call that failed as well', async () => {
    const { kernel, own } = open();
    const call = own.during(Promise.reject(new Error('no')));
    own.close();
    await expect(call).rejects.toThrow('no');
    expect(kernel.clean).toBe(true);
  });

  it('is somebody else’s once it was given away, at process exit too', () => {
    const { kernel, fd, own } = open();
    expect(own.release()).toBe(fd);
    expect(kernel.exits.size).toBe(0);
    own.close();
    expect([own.closed, kernel.open.size]).toEqual([true, 1]);
    expect(() => own.release()).toThrow('ERR_VFIO_CLOSED');
  });
});
