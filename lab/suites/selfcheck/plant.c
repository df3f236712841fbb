// SPDX-License-Identifier: GPL-2.0
/* Makes the kernel report what the parameter `how` names, so that the lab can be seen to notice it. */
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

static char *how = "";
module_param(how, charp, 0444);

static int __init plant_init(void)
{
	if (!strcmp(how, "warning")) {
		WARN(1, "planted warning\n");
	} else if (!strcmp(how, "message")) {
		pr_warn("planted message\n");
	} else if (!strcmp(how, "oops")) {
		*(volatile int *)16 = 1;
	} else if (!strcmp(how, "use-after-free")) {
		volatile char *memory = kmalloc(64, GFP_KERNEL);

		kfree((void *)memory);
		memory[8] = 1;
	} else {
		return -EINVAL;
	}
	return 0;
}

static void __exit plant_exit(void)
{
}

module_init(plant_init);
module_exit(plant_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Plants kernel reports");
