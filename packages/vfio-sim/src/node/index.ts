/** What of the simulation needs Node.js: disks in files. */

export { type FileDiskOptions, fileDisk } from './file-disk.js';
