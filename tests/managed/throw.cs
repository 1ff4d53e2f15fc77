// SPDX-License-Identifier: MIT
// Ends by an exception that nobody catches.
using System;

class Throw
{
    static int Main(string[] args)
    {
        Console.WriteLine("throwing");
        throw new InvalidOperationException("nobody catches this");
    }
}
