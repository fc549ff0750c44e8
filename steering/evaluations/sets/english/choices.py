"""Multiple-choice questions that a chat model of 135 million parameters answers well above chance.

One question a line: the question, the right answer, three wrong ones.
"""

# ruff: noqa: E501

from __future__ import annotations

EVERYDAY = """
What do we use to cut paper?|scissors|a spoon|a pillow|a candle
Where do fish live?|in water|in trees|in the desert|in the clouds
What do you wear on your feet?|shoes|gloves|a hat|glasses
What do we use to write on a blackboard?|chalk|soap|butter|sand
Which animal says meow?|a cat|a dog|a cow|a duck
Which animal barks?|a dog|a fish|a snail|a goat
What do you need to open a locked door?|a key|a cup|a stone|a book
What falls from the sky when it rains?|water|sand|leaves|salt
What color is the sky on a clear day?|blue|green|brown|pink
What color is fresh grass?|green|blue|red|white
What color is fresh snow?|white|black|red|green
What do we drink when we are thirsty?|water|sand|paint|glue
Which season is the coldest?|winter|summer|spring|autumn
Which season comes after winter?|spring|autumn|summer|night
What do you use to brush your teeth?|a toothbrush|a hammer|a fork|a shoe
Who treats sick people?|a doctor|a pilot|a baker|a farmer
Who flies a plane?|a pilot|a nurse|a painter|a tailor
Who bakes bread for a living?|a baker|a lawyer|a sailor|a singer
Who puts out fires?|a firefighter|a dentist|a poet|a plumber
Who teaches children at school?|a teacher|a driver|a butcher|a dancer
What do you use to see in the dark?|a flashlight|a pillow|a carpet|a sandwich
Where do you buy medicine?|at a pharmacy|at a bakery|at a cinema|at a garage
Where do you borrow books?|at a library|at a harbor|at a gym|at a bakery
Where do planes land?|at an airport|at a farm|in a kitchen|at a museum
What do hens lay?|eggs|apples|bricks|shoes
What do sheep give us for clothes?|wool|glass|wood|rubber
Which of these is a fruit?|an apple|a chair|a carrot|a stone
Which of these is a vegetable?|a carrot|a banana|a table|a pearl
Which of these can fly?|a sparrow|a horse|a turtle|a pig
Which of these is a musical instrument?|a trumpet|a ladder|a bucket|a lamp
Which of these is a tool?|a hammer|a cake|a cloud|a song
Which of these is a vehicle?|a truck|a sofa|a window|a pencil
Which of these is very hot?|fire|ice|snow|milk
Which of these is cold?|ice|fire|steam|lava
Which of these is sweet?|sugar|salt|vinegar|soap
Which of these is sour?|a lemon|honey|chocolate|bread
What do you use to tell the time?|a clock|a plate|a brush|a rope
What do you use to sweep the floor?|a broom|a violin|a kettle|a coin
What do you put on a letter before you post it?|a stamp|a shoe|a candle|a spoon
What keeps you dry in the rain?|an umbrella|a fan|a mirror|a spoon
What do you sleep on?|a bed|a shelf|a stove|a roof
What do you eat soup with?|a spoon|a knife|a comb|a pen
What do you use to dig a hole?|a shovel|a towel|a bottle|a ribbon
In which room do you usually cook?|in the kitchen|in the bathroom|in the garage|in the bedroom
Where does the president of a school work?|at the school|on the moon|under water|in a cave
When do most people sleep?|at night|at noon|at lunch|in the rain
When do people usually eat breakfast?|in the morning|at midnight|in the evening|at sunset
What happens to ice in the sun?|it melts|it grows|it burns|it sings
What happens if you drop a glass on a stone floor?|it breaks|it flies|it melts|it sings
What should you do before you cross a street?|look both ways|close your eyes|lie down|sing a song
What should you do if you are tired?|rest|run faster|paint a wall|count the stars
What should you do if your house is on fire?|leave the house and call for help|go to sleep|water the plants|read a book
Why do people wear coats in winter?|to stay warm|to swim faster|to see better|to eat more
Why do people wear sunglasses?|to protect their eyes from the sun|to hear better|to run faster|to stay warm
Why do we put food in a refrigerator?|to keep it fresh|to make it louder|to paint it|to make it heavier
What do plants need to grow?|water and light|shoes and socks|paper and ink|oil and smoke
What does a baby drink?|milk|coffee|gasoline|ink
What is a group of wolves called?|a pack|a school|a library|a bunch
What is the home of a bird called?|a nest|a den|a stable|a hive
What do we call frozen rain that falls as soft flakes?|snow|fog|dust|smoke
"""
ARITHMETIC = """
What is 2 plus 3?|5|4|6|8
What is 4 plus 4?|8|7|9|6
What is 1 plus 6?|7|8|6|5
What is 5 plus 5?|10|11|9|15
What is 3 plus 6?|9|8|10|7
What is 10 plus 5?|15|14|16|12
What is 20 plus 30?|50|40|60|70
What is 7 plus 3?|10|9|11|13
What is 8 plus 2?|10|12|9|11
What is 6 plus 6?|12|11|13|10
What is 100 plus 100?|200|300|150|1000
What is 9 plus 1?|10|11|8|9
What is 5 minus 2?|3|2|4|7
What is 10 minus 5?|5|4|6|15
What is 8 minus 4?|4|3|5|12
What is 9 minus 3?|6|5|7|12
What is 20 minus 10?|10|20|5|30
What is 7 minus 7?|0|1|7|14
What is 100 minus 50?|50|40|60|150
What is 6 minus 1?|5|4|7|6
What is 2 times 3?|6|5|8|9
What is 5 times 2?|10|7|12|25
What is 3 times 3?|9|6|12|8
What is 4 times 5?|20|9|25|16
What is 10 times 3?|30|13|40|33
What is 1 times 8?|8|9|1|18
What is 2 times 10?|20|12|30|22
What is 6 divided by 2?|3|4|2|12
What is 10 divided by 2?|5|4|8|20
What is 12 divided by 3?|4|3|6|9
I have 3 apples and get 2 more. How many apples do I have?|5 apples|4 apples|6 apples|1 apple
Tom has 6 pens and loses 2. How many pens does he have left?|4 pens|3 pens|8 pens|6 pens
Ann has 5 books and buys 5 more. How many books does she have?|10 books|5 books|15 books|9 books
There are 8 birds and 3 fly away. How many birds are left?|5 birds|11 birds|4 birds|3 birds
Two boxes hold 4 eggs each. How many eggs are there?|8 eggs|6 eggs|4 eggs|2 eggs
Which number comes after 9?|10|8|12|7
Which number comes before 5?|4|6|3|7
Which number is the largest?|100|10|50|1
Which number is even?|4|3|5|7
How many legs do two dogs have together?|8 legs|4 legs|6 legs|2 legs
"""
GRAMMAR = """
Which sentence is correct?|She goes to school every day.|She go to school every day.|She going to school every day.|She to goes school every day.
Which sentence is correct?|They are playing in the garden.|They is playing in the garden.|They am playing in the garden.|They be playing in garden the.
Which sentence is correct?|I have two brothers.|I has two brothers.|I having two brothers.|I have two brother.
Which sentence is correct?|He does not like fish.|He do not likes fish.|He not like fish does.|He don't likes fish.
Which sentence is correct?|We were at home yesterday.|We was at home yesterday.|We be at home yesterday.|We is at home yesterday.
Which sentence is correct?|The children are happy.|The children is happy.|The childrens is happy.|The children am happy.
Which sentence is correct?|There are many people here.|There is many peoples here.|There be many people here.|There am many people here.
Which sentence is correct?|This is an apple.|This is a apple.|This are an apple.|These is apple an.
Which sentence is correct?|My mother works in a bank.|My mother work in a bank.|My mother working in a bank.|My mother are work in a bank.
Which sentence is correct?|Yesterday we went to the park.|Yesterday we go to the park.|Yesterday we goes to the park.|Yesterday we going to the park.
Which sentence is correct?|He is taller than his brother.|He is more tall his brother.|He is tallest than his brother.|He are taller than his brother.
Which sentence is correct?|These books are mine.|This books are mine.|These book is mine.|These books is mine.
Which sentence is correct?|Can you help me?|Can you helps me?|Can you to help me?|Can you helping me?
Which sentence is correct?|She has lived here for ten years.|She have lived here for ten years.|She has live here for ten years.|She has living here for ten years.
Which sentence is correct?|The dog that barked is mine.|The dog that bark are mine.|The dog what barked are mine.|The dog that barked am mine.
Which sentence is correct?|If it rains, we will stay at home.|If it rain, we will stays at home.|If it raining, we will staying home.|If it rains, we will stayed at home.
Which sentence is correct?|The letter was written by Anna.|The letter was wrote by Anna.|The letter were written by Anna.|The letter was write by Anna.
Which sentence is correct?|They saw themselves in the mirror.|They saw himself in the mirror.|They saw theirselves in the mirror.|They seen themselves in the mirror.
Which sentence is correct?|Nobody knows the answer.|Nobody know the answer.|Nobody knowing the answer.|Nobody are know the answer.
Which sentence is correct?|Where do you live?|Where you do live?|Where does you live?|Where do you lives?
Complete the sentence: The cat is sleeping ___ the sofa.|on|of|to|at from
Complete the sentence: He was born ___ 1990.|in|on|at|of
Complete the sentence: I am afraid ___ spiders.|of|on|at|in
Complete the sentence: She is good ___ mathematics.|at|of|on|from
Complete the sentence: We are waiting ___ the bus.|for|of|at the|from
Complete the sentence: There is ___ elephant in the zoo.|an|a|two|many
Complete the sentence: I ___ a student.|am|is|are|be
Complete the sentence: You ___ my best friend.|are|is|am|be
Complete the sentence: The sun ___ in the east.|rises|rise|rising|risen
Complete the sentence: They ___ dinner now.|are eating|is eating|eats|am eating
What is the plural of book?|books|bookes|bookies|book
What is the plural of dog?|dogs|doges|doggies|dog
What is the plural of woman?|women|womans|womens|woman
What is the plural of foot?|feet|foots|feets|footes
What is the past tense of see?|saw|seed|seen it|sees
What is the past tense of eat?|ate|eated|eats|eating
What is the past tense of run?|ran|runned|runs|running
What is the opposite of big?|small|large|huge|tall
What is the opposite of day?|night|morning|noon|sun
What is the opposite of happy?|sad|glad|funny|rich
What is the opposite of open?|closed|wide|large|new
What is the opposite of young?|old|small|child|new
Which word means nearly the same as quick?|fast|slow|heavy|late
Which word means nearly the same as begin?|start|end|wait|sleep
Which word means nearly the same as large?|big|tiny|thin|weak
Which word means nearly the same as angry?|mad|calm|happy|shy
Which of these words is a verb?|run|table|green|happy
Which of these words is a color?|red|run|chair|slowly
Which of these words is a noun?|house|quickly|eat|beautiful
Which of these words is an adjective?|beautiful|run|slowly|table
"""
AREAS = {"everyday": EVERYDAY, "arithmetic": ARITHMETIC, "grammar": GRAMMAR}


def english_questions() -> list[tuple[str, str, tuple[str, str, str, str]]]:
    """(area, question, options) of every question; the first option is the right one."""
    found = []
    for area, lines in AREAS.items():
        for line in lines.strip().split("\n"):
            question, *options = line.split("|")
            right, first, second, third = options
            found.append((area, question, (right, first, second, third)))
    return found
