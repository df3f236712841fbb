/*
 * Takes memory that was just freed and looks for bytes that somebody else writes into it.
 *   watcher MIB MILLISECONDS
 * Fills MIB of fresh memory with a pattern, prints "filled ADDRESS", waits, and prints "foreign COUNT".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PATTERN 0xA5A5A5A5A5A5A5A5ull

int main(int argc, char **argv)
{
	size_t words, i, foreign = 0;
	unsigned long long *memory;

	if (argc != 3)
		return 2;
	words = strtoul(argv[1], NULL, 10) * 1024 * 1024 / sizeof(*memory);
	memory = mmap(NULL, words * sizeof(*memory), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 3;
	for (i = 0; i < words; i++)
		memory[i] = PATTERN;
	printf("filled %llx\n", (unsigned long long)(size_t)memory);
	fflush(stdout);
	usleep(strtoul(argv[2], NULL, 10) * 1000);
	for (i = 0; i < words; i++)
		if (((volatile unsigned long long *)memory)[i] != PATTERN)
			foreign++;
	printf("foreign %zu\n", foreign);
	return 0;
}
