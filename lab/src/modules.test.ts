import { describe, expect, it } from 'vitest';
import { spanIterator } from './modules.js';

describe('the part of the interval tree that a kernel without iommufd leaves out', () => {
  it('is what its condition holds, with the headers that it needs and without the exports of the rest', () => {
    const file = [
      '#include <linux/interval_tree_generic.h>',
      'EXPORT_SYMBOL_GPL(interval_tree_insert);',
      '#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER',
      'void interval_tree_span_iter_next(void) {}',
      '#endif',
      '',
    ].join('\n');
    expect(spanIterator(file).split('\n')).toEqual([
      '#include <linux/interval_tree.h>',
      '#include <linux/export.h>',
      '#ifdef CONFIG_INTERVAL_TREE_SPAN_ITER',
      'void interval_tree_span_iter_next(void) {}',
      '#endif',
      '',
    ]);
  });

  it('must be there: a source that lost the condition is refused', () => {
    expect(() => spanIterator('EXPORT_SYMBOL_GPL(interval_tree_insert);\n')).toThrow(/CONFIG_INTERVAL_TREE_SPAN_ITER/);
  });
});
