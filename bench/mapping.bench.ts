// Mapping, unmapping and opening a device, each way, beside the same calls in C. Only a kernel with an IOMMU can do that, so it runs in the
// lab: this is its suite `speed`, with the options of the lab (`--json`, `--run 6.12`).
process.argv.splice(2, 1, 'speed');
await import('../lab/src/main.js');
