/*
 * Takes memory as soon as it is free, and looks for bytes that somebody else writes into it.
 *   watcher MIB MILLISECONDS
 * Fills every free huge page and MIB of ordinary memory with a pattern and prints "filled ADDRESS". For MILLISECONDS it then
 * takes and fills every huge page that becomes free. At the end it prints "huge PAGES" and "foreign WORDS", the words that are not the pattern.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PATTERN 0xA5A5A5A5A5A5A5A5ull
#define HUGE_BYTES (2ul << 20)

#define MOST_PARTS 4096

struct part {
	unsigned long long *words;
	size_t count;
};

static struct part parts[MOST_PARTS];
static size_t taken;

static unsigned long free_huge_pages(void)
{
	char line[256];
	unsigned long pages = 0;
	FILE *file = fopen("/proc/meminfo", "r");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "HugePages_Free: %lu", &pages) == 1)
			break;
	if (file)
		fclose(file);
	return pages;
}

/* Returns 0 when somebody else was faster. */
static int take(size_t bytes, int flags)
{
	struct part part = { NULL, bytes / sizeof(*part.words) };
	size_t i;

	if (taken == MOST_PARTS)
		return 0;
	part.words = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
	if (part.words == MAP_FAILED)
		return 0;
	for (i = 0; i < part.count; i++)
		part.words[i] = PATTERN;
	parts[taken++] = part;
	return 1;
}

static size_t foreign(void)
{
	size_t part, i, found = 0;

	for (part = 0; part < taken; part++)
		for (i = 0; i < parts[part].count; i++)
			if (((volatile unsigned long long *)parts[part].words)[i] != PATTERN)
				found++;
	return found;
}

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	unsigned long pages, huge = 0;
	double end;

	if (argc != 3)
		return 2;
	/* Huge pages first: devices work in those. */
	if ((pages = free_huge_pages()) > 0 && take(pages * HUGE_BYTES, MAP_HUGETLB))
		huge += pages;
	if (!take(strtoul(argv[1], NULL, 10) << 20, 0))
		return 3;
	printf("filled %llx\n", (unsigned long long)(size_t)parts[taken - 1].words);
	fflush(stdout);
	for (end = seconds() + strtoul(argv[2], NULL, 10) / 1000.0; seconds() < end; usleep(100))
		if ((pages = free_huge_pages()) > 0 && take(pages * HUGE_BYTES, MAP_HUGETLB))
			huge += pages;
	printf("huge %lu\nforeign %zu\n", huge, foreign());
	return 0;
}
