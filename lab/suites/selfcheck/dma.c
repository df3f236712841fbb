/* Starts a DMA write of QEMU's edu device to an address that nothing has mapped. Argument: the device's sysfs folder. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static int open_in(const char *folder, const char *name)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDWR | O_SYNC);
	if (fd < 0) {
		perror(path);
		exit(1);
	}
	return fd;
}

int main(int count, char **words)
{
	uint16_t command;
	volatile uint64_t *registers;
	int config, bar, i;

	if (count != 2)
		return 2;
	config = open_in(words[1], "config");
	if (pread(config, &command, 2, 4) != 2)
		return 1;
	command |= 6; /* memory space, bus master */
	if (pwrite(config, &command, 2, 4) != 2)
		return 1;
	bar = open_in(words[1], "resource0");
	registers = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, bar, 0);
	if (registers == MAP_FAILED)
		return 1;
	registers[0x80 / 8] = 0x40000;  /* from the device's buffer */
	registers[0x88 / 8] = 0x800000; /* to nowhere */
	registers[0x90 / 8] = 64;
	registers[0x98 / 8] = 1 | 2;
	for (i = 0; i < 100 && (registers[0x98 / 8] & 1); i++)
		usleep(50000);
	return registers[0x98 / 8] & 1;
}
