// SPDX-License-Identifier: MIT
// Prints its arguments, one a line in brackets, and returns how many there are.
using System;

class Args
{
    static int Main(string[] args)
    {
        foreach (var arg in args)
        {
            Console.WriteLine("[{0}]", arg);
        }
        return args.Length;
    }
}
