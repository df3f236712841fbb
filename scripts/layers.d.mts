export declare const layers: Readonly<Record<string, { readonly name: string; readonly imports: readonly string[] }>>;
export declare const nodeAllowed: readonly string[];
