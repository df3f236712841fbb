/** The objects of an iommufd and their numbers. */

import { EBUSY, ENOENT } from '../errno.js';

export type ObjectKind = 'device' | 'ioas' | 'hwpt';

export abstract class IommufdObject {
  abstract readonly kind: ObjectKind;
  /** Its number; 0 before it is in a table. */
  id = 0;
  /** How many others need it. While there are any it cannot be destroyed. */
  users = 0;

  /** It leaves the table for good. */
  destroyed(): void {}
}

export class ObjectTable {
  private readonly objects = new Map<number, IommufdObject>();

  get empty(): boolean {
    return this.objects.size === 0;
  }

  get all(): IommufdObject[] {
    return [...this.objects.values()];
  }

  /** Gives it the lowest free number, from 1 on. */
  add(object: IommufdObject): void {
    object.id = 1;
    while (this.objects.has(object.id)) object.id++;
    this.objects.set(object.id, object);
  }

  get(id: number): IommufdObject | undefined {
    return this.objects.get(id);
  }

  /** DESTROY: 0 or a negative errno ([IFD-20]). */
  remove(id: number): number {
    const object = this.objects.get(id);
    if (object === undefined) return -ENOENT;
    if (object.users > 0) return -EBUSY;
    this.objects.delete(id);
    object.destroyed();
    return 0;
  }

  /** Destroys everything, those first that nobody needs. */
  clear(): void {
    while (this.objects.size > 0) {
      const before = this.objects.size;
      for (const id of [...this.objects.keys()]) this.remove(id);
      if (this.objects.size === before) return;
    }
  }
}
