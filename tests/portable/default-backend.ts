import { defaultBackend } from 'vfio-core';

export function attempt(): string {
  try {
    return defaultBackend().name;
  } catch (error) {
    return (error as Error).message;
  }
}
