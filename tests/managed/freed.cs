// SPDX-License-Identifier: MIT
// Has a native module free memory behind the runtime's back, then allocates 50 MiB and keeps them.
// Returns how many answers of the module's were wrong.
//
// freed [MODULE [all]]: without a module only the work; all: the runtime meets every region again
using System;
using System.Runtime.InteropServices;

class Freed
{
    const int ArrayBytes = 64 * 1024;
    const int Arrays = 50 * 1024 * 1024 / ArrayBytes;

    [DllImport("kernel32", CharSet = CharSet.Unicode, ExactSpelling = true)]
    static extern IntPtr LoadLibraryW(string path);

    [DllImport("freeing_module")]
    static extern int free_behind(bool touchAll);

    static int Main(string[] args)
    {
        int wrong = 0;
        if (args.Length > 0)
        {
            // It is found by its name when it is loaded already.
            wrong = LoadLibraryW(args[0]) == IntPtr.Zero ? -1 : free_behind(args.Length > 1);
        }
        var arrays = new byte[Arrays][];
        for (int i = 0; i < Arrays; i++)
        {
            arrays[i] = new byte[ArrayBytes];
            arrays[i][i] = 1; // the page must be real
        }
        int kept = 0;
        foreach (var array in arrays)
        {
            kept += array.Length;
        }
        Console.WriteLine("kept {0} KiB, {1} wrong answers", kept / 1024, wrong);
        return wrong;
    }
}
