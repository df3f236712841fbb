/*
 * The calls that the suite measures, in C. Times are in nanoseconds, a line for each repetition.
 *   calls clock COUNT                                   two looks at the clock
 *   calls version COUNT                                 VFIO_GET_API_VERSION on descriptor 3
 *   calls map container|IOAS MEMORY SIZE IOVA COUNT     map and unmap, on descriptor 3; MEMORY: pages, huge
 *   calls open container GROUP ADDRESS COUNT            the whole way to a device, and back
 *   calls open iommufd CDEV COUNT
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void must(int right, const char *what)
{
	if (right)
		return;
	perror(what);
	exit(1);
}

static void *memory(const char *kind, size_t size)
{
	void *at;
	if (!strcmp(kind, "huge")) {
		unsigned flags = MFD_HUGETLB | (size >= 1ul << 30 ? 30u << 26 : 21u << 26);
		int fd = memfd_create("calls", flags);
		must(fd >= 0 && !ftruncate(fd, size), "memfd");
		at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	} else {
		at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	}
	must(at != MAP_FAILED, "mmap");
	memset(at, 1, size);
	return at;
}

struct type1_map { uint32_t argsz, flags; uint64_t vaddr, iova, size; };
struct type1_unmap { uint32_t argsz, flags; uint64_t iova, size; };
struct ioas_map { uint32_t size, flags, ioas, reserved; uint64_t va, length, iova; };
struct ioas_unmap { uint32_t size, ioas; uint64_t iova, length; };

static void map(const char *way, const char *kind, uint64_t size, uint64_t iova, long count)
{
	uint64_t at = (uint64_t)memory(kind, size);
	int container = !strcmp(way, "container");
	uint32_t ioas = container ? 0 : (uint32_t)atoi(way);
	for (long i = 0; i < count; i++) {
		struct type1_map m = { sizeof m, 3, at, iova, size };
		struct type1_unmap u = { sizeof u, 0, iova, size };
		struct ioas_map im = { sizeof im, 7, ioas, 0, at, size, iova };
		struct ioas_unmap iu = { sizeof iu, ioas, iova, size };
		uint64_t start = now(), middle, end;
		int mapped = ioctl(3, container ? 0x3b71 : 0x3b85, container ? (void *)&m : (void *)&im);
		middle = now();
		int unmapped = ioctl(3, container ? 0x3b72 : 0x3b86, container ? (void *)&u : (void *)&iu);
		end = now();
		must(mapped == 0, "map");
		must(unmapped == 0 && (container ? u.size : iu.length) == size, "unmap");
		printf("%lu %lu\n", middle - start, end - middle);
	}
}

static void open_container(const char *group_path, const char *address, long count)
{
	for (long i = 0; i < count; i++) {
		uint64_t start = now(), middle;
		int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), group = open(group_path, O_RDWR | O_CLOEXEC);
		must(container >= 0 && group >= 0, "open");
		must(ioctl(group, 0x3b68, &container) == 0, "SET_CONTAINER");
		must(ioctl(container, 0x3b66, 3) == 0, "SET_IOMMU");
		int device = ioctl(group, 0x3b6a, address);
		must(device >= 0, "GET_DEVICE_FD");
		middle = now();
		close(device);
		close(group);
		close(container);
		printf("%lu %lu\n", middle - start, now() - middle);
	}
}

static void open_iommufd(const char *path, long count)
{
	for (long i = 0; i < count; i++) {
		uint64_t start = now(), middle;
		int iommufd = open("/dev/iommu", O_RDWR | O_CLOEXEC), device = open(path, O_RDWR | O_CLOEXEC);
		must(iommufd >= 0 && device >= 0, "open");
		uint32_t bind[4] = { sizeof bind, 0, (uint32_t)iommufd, 0 }, ioas[3] = { sizeof ioas, 0, 0 };
		must(ioctl(device, 0x3b76, bind) == 0, "BIND_IOMMUFD");
		must(ioctl(iommufd, 0x3b81, ioas) == 0, "IOAS_ALLOC");
		uint32_t attach[3] = { sizeof attach, 0, ioas[2] };
		must(ioctl(device, 0x3b77, attach) == 0, "ATTACH_IOMMUFD_PT");
		middle = now();
		close(device);
		close(iommufd);
		printf("%lu %lu\n", middle - start, now() - middle);
	}
}

int main(int words, char **word)
{
	if (words == 3 && !strcmp(word[1], "clock")) {
		for (long i = atol(word[2]); i > 0; i--) {
			uint64_t start = now();
			printf("%lu\n", now() - start);
		}
	} else if (words == 3 && !strcmp(word[1], "version")) {
		for (long i = atol(word[2]); i > 0; i--) {
			uint64_t start = now();
			int version = ioctl(3, 0x3b64);
			uint64_t end = now();
			must(version == 0, "GET_API_VERSION");
			printf("%lu\n", end - start);
		}
	} else if (words == 7 && !strcmp(word[1], "map")) {
		map(word[2], word[3], strtoul(word[4], NULL, 0), strtoul(word[5], NULL, 0), atol(word[6]));
	} else if (words == 6 && !strcmp(word[1], "open")) {
		open_container(word[3], word[4], atol(word[5]));
	} else if (words == 5 && !strcmp(word[1], "open")) {
		open_iommufd(word[3], atol(word[4]));
	} else {
		fprintf(stderr, "not such a call\n");
		return 2;
	}
	return 0;
}
