/*
 * One system call of another process, on descriptors that it inherited. Prints the result, or the negative errno.
 *   heir open PATH
 *   heir ioctl REQUEST value NUMBER | ioctl REQUEST bytes HEX
 *   heir ioctl32 REQUEST NUMBER      by the entry of 32-bit programs
 *   heir lseek OFFSET | read COUNT
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static unsigned char buffer[65536];

/* ioctl is number 54 there. */
static long ioctl32(unsigned request, unsigned argument)
{
	long result = 54;
	__asm__ volatile("int $0x80"
			 : "+a"(result)
			 : "b"(0L), "c"((long)request), "d"((long)argument)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static void *bytes(const char *hex)
{
	for (size_t i = 0; hex[2 * i] && i < sizeof buffer; i++) {
		unsigned value;
		if (sscanf(hex + 2 * i, "%2x", &value) != 1)
			exit(2);
		buffer[i] = (unsigned char)value;
	}
	return buffer;
}

int main(int count, char **words)
{
	long result;
	const char *call = count > 2 ? words[1] : "";

	if (!strcmp(call, "open")) {
		result = open(words[2], O_RDWR) < 0 ? -1 : 0;
	} else if (!strcmp(call, "ioctl") && count == 5) {
		void *argument = !strcmp(words[3], "bytes") ? bytes(words[4]) : (void *)strtoul(words[4], NULL, 0);
		result = ioctl(0, strtoul(words[2], NULL, 0), argument);
	} else if (!strcmp(call, "ioctl32") && count == 4) {
		printf("%ld\n", ioctl32(strtoul(words[2], NULL, 0), strtoul(words[3], NULL, 0)));
		return 0;
	} else if (!strcmp(call, "lseek")) {
		result = lseek(0, strtol(words[2], NULL, 0), SEEK_SET);
	} else if (!strcmp(call, "read")) {
		result = read(0, buffer, strtoul(words[2], NULL, 0));
	} else {
		fprintf(stderr, "not such a call\n");
		return 2;
	}
	printf("%ld\n", result < 0 ? -(long)errno : result);
	return 0;
}
