package synthetic

import "strings"

// name is one name in its own script and, when that is not Latin, in Latin letters. A
// tradition whose father names differ from given names has them beside the given name.
type name struct {
	native, latin                 string
	fatherNative, fatherLatin     string
	daughterNative, daughterLatin string // the form that women bear, when it differs
}

// chain says how a tradition joins the parts of a full name.
type chain uint8

const (
	givenFamily       chain = iota // given, sometimes a second name, family
	familyGiven                    // family first
	givenFather                    // given, father, grandfather; nobody has a family name
	givenFatherFamily              // given, father, sometimes grandfather, family
	givenOnly                      // one name
)

// tradition is how one part of the population names its children.
type tradition struct {
	script   string // ISO 15924
	language string // ISO 639-3
	chain    chain
	female   []name
	male     []name
	family   []name
	keeps    bool // women keep their family name when they marry
}

func (t *tradition) given(female bool) []name {
	if female {
		return t.female
	}
	return t.male
}

// isLatin reports whether the names need no transliteration.
func (t *tradition) isLatin() bool { return t.script == "Latn" }

// traditions returns all of them. Their order is part of the seed's meaning.
func traditions() []tradition {
	return []tradition{
		{
			script: "Latn", language: "por", chain: givenFamily,
			female: latin("Ana Beatriz Cecília Conceição Débora Elisângela Fátima Graça Helena Inês Joana Lúcia Márcia Mónica Núria Patrícia Rosália Sílvia Verónica Zélia"),
			male:   latin("André Antônio Benício César Damião Estêvão Fábio Gonçalo Hélder Inácio João José Luís Márcio Nélson Otávio Rúben Sebastião Tomé Vítor"),
			family: latin("Almeida Araújo Assunção Brandão Cabral Conceição D'Alva Évora Falcão Gonçalves Guimarães Leitão Magalhães Monteiro Pação Queirós Simões Tavares Valadão Vaz-Tomé"),
		},
		{
			script: "Latn", language: "yor", chain: givenFamily, keeps: true,
			female: latin("Abọ́sẹ̀dé Adébọ́lá Adùkẹ́ Àìná Àjọkẹ́ Bísí Bọ́lánlé Dúpẹ́ Fọlákẹ́ Ìyábọ̀ Kẹ́mi Mojísọ́lá Ọlábísí Rónkẹ́ Ṣadé Títílayọ̀ Wùrà Yéwándé Yétúndé"),
			male:   latin("Abíọ́dún Adébáyọ̀ Adéwálé Àjàyí Akínwùmí Àlàbí Babátúndé Dàda Délé Fẹ́mi Gbénga Ìdòwú Káyọ̀dé Kúnlé Ọládàpọ̀ Olúṣẹ́gun Rótìmí Ṣẹ́gun Táíwò Wọlé"),
			family: latin("Adéníyì Adéyẹmí Àjàlá Akíntọ́lá Awólọ́wọ̀ Balógun Dáramọ́lá Fágúnwà Ìgè Kúforíjì Ládípọ̀ Odùdúwà Ògúnsànyà Okùnọlá Ọ̀ṣúndáre Ṣóyínká Tìámíyù"),
		},
		{
			script: "Arab", language: "ara", chain: givenFatherFamily, keeps: true,
			female: bilingual("آمنة Amina|بشرى Bushra|جميلة Jamila|حليمة Halima|خديجة Khadija|رقية Ruqayya|زينب Zaynab|سعاد Su'ad|سلمى Salma|عائشة 'A'isha|فاطمة Fatima|كلثوم Kulthum|ليلى Layla|مريم Maryam|نجوى Najwa|هدى Huda|ياسمين Yasmin"),
			male:   bilingual("إبراهيم Ibrahim|أحمد Ahmad|إدريس Idris|آدم Adam|بشير Bashir|حسن Hasan|خالد Khalid|زكريا Zakariya|سليمان Sulayman|صالح Salih|عبد الله Abdullah|عثمان Uthman|علي Ali|عمر Umar|محمد Muhammad|مصطفى Mustafa|موسى Musa|هارون Harun|يوسف Yusuf"),
			family: bilingual("الأمين al-Amin|البشير al-Bashir|التجاني al-Tijani|الحاج al-Hajj|الخضر al-Khidr|الزبير al-Zubayr|السنوسي al-Sanusi|الصادق al-Sadiq|الطاهر al-Tahir|الفكي al-Faki|المهدي al-Mahdi|النور al-Nur|بابكر Babikr|كباشي Kabbashi"),
		},
		{
			script: "Ethi", language: "amh", chain: givenFather, keeps: true,
			female: bilingual("አልማዝ Almaz|አስቴር Aster|በቀለች Bekelech|ብርቱካን Birtukan|ደስታ Desta|እመቤት Emebet|ፋንታዬ Fantaye|ገነት Genet|ሂሩት Hirut|ለምለም Lemlem|ማርታ Marta|መሰረት Meseret|ራሔል Rahel|ሰላማዊት Selamawit|ትዕግስት Tigist|ውብት Wubit|የሺ Yeshi|ዘነበች Zenebech"),
			male:   bilingual("አበበ Abebe|አለማየሁ Alemayehu|በቀለ Bekele|ብርሃኑ Birhanu|ደረጀ Dereje|እሸቱ Eshetu|ፍቃዱ Fikadu|ገብረ መስቀል Gebre Meskel|ግርማ Girma|ኃይሉ Haylu|ከበደ Kebede|ለገሰ Legesse|መኮንን Mekonnen|ሙሉጌታ Mulugeta|ሰለሞን Solomon|ተስፋዬ Tesfaye|ወልደ ማርያም Welde Maryam|ዮሐንስ Yohannes|ዘውዱ Zewdu"),
		},
		{
			script: "Deva", language: "nep", chain: givenFamily,
			female: bilingual("अनिता Anita|आशा Asha|इन्दिरा Indira|कमला Kamala|गंगा Ganga|गीता Gita|जानकी Janaki|दुर्गा Durga|निर्मला Nirmala|पवित्रा Pabitra|मञ्जु Manju|मीना Mina|राधा Radha|लक्ष्मी Lakshmi|विमला Bimala|शान्ति Shanti|सरस्वती Saraswati|सीता Sita"),
			male:   bilingual("अर्जुन Arjun|कृष्ण Krishna|गणेश Ganesh|गोपाल Gopal|चन्द्र Chandra|दिनेश Dinesh|नारायण Narayan|प्रकाश Prakash|बिष्णु Bishnu|मोहन Mohan|रमेश Ramesh|राजेन्द्र Rajendra|राम Ram|लोकेन्द्र Lokendra|शंकर Shankar|श्याम Shyam|सुरेश Suresh|हरि Hari"),
			family: bilingual("अधिकारी Adhikari|ओझा Ojha|कार्की Karki|खत्री Khatri|गुरुङ Gurung|चौधरी Chaudhary|तामाङ Tamang|थापा Thapa|पौडेल Paudel|बस्नेत Basnet|भट्टराई Bhattarai|मगर Magar|यादव Yadav|राई Rai|लिम्बू Limbu|श्रेष्ठ Shrestha"),
		},
		{
			script: "Cyrl", language: "bul", chain: givenFatherFamily,
			female: bilingual("Ана Ana|Боряна Boryana|Весела Vesela|Виолета Violeta|Гергана Gergana|Десислава Desislava|Елисавета Elisaveta|Живка Zhivka|Здравка Zdravka|Иванка Ivanka|Лиляна Lilyana|Надежда Nadezhda|Пенка Penka|Радостина Radostina|Снежана Snezhana|Тодорка Todorka|Цветана Tsvetana|Юлия Yuliya"),
			male:   patronymic("Ангел Angel Ангелов Angelov|Борис Boris Борисов Borisov|Васил Vasil Василев Vasilev|Георги Georgi Георгиев Georgiev|Димитър Dimitar Димитров Dimitrov|Желязко Zhelyazko Желязков Zhelyazkov|Иван Ivan Иванов Ivanov|Кирил Kiril Кирилов Kirilov|Любомир Lyubomir Любомиров Lyubomirov|Никола Nikola Николов Nikolov|Петър Petar Петров Petrov|Стефан Stefan Стефанов Stefanov|Тодор Todor Тодоров Todorov|Христо Hristo Христов Hristov|Цветан Tsvetan Цветанов Tsvetanov|Юлиан Yulian Юлианов Yulianov"),
			family: gendered("Бояджиев Boyadzhiev|Вълков Valkov|Грозданов Grozdanov|Дочев Dochev|Жеков Zhekov|Здравков Zdravkov|Илчев Ilchev|Кехайов Kehayov|Лозанов Lozanov|Мутафчиев Mutafchiev|Обретенов Obretenov|Рачев Rachev|Събев Sabev|Узунов Uzunov|Чакъров Chakarov|Щерев Shterev"),
		},
		{
			script: "Hani", language: "zho", chain: familyGiven, keeps: true,
			female: bilingual("秀英 Xiuying|桂兰 Guilan|淑珍 Shuzhen|玉梅 Yumei|丽华 Lihua|小红 Xiaohong|静 Jing|晓燕 Xiaoyan|春花 Chunhua|月娥 Yue'e"),
			male:   bilingual("建国 Jianguo|伟 Wei|志强 Zhiqiang|永福 Yongfu|德明 Deming|海涛 Haitao|国平 Guoping|文斌 Wenbin|长安 Chang'an|小龙 Xiaolong"),
			family: bilingual("王 Wang|李 Li|张 Zhang|刘 Liu|陈 Chen|赵 Zhao|吴 Wu|欧阳 Ouyang|司马 Sima|林 Lin"),
		},
		{
			script: "Latn", language: "jav", chain: givenOnly, keeps: true,
			female: latin("Ginem Kartini Lestari Mirah Parti Rukmini Sarinah Siti Sulastri Sumarni Suparmi Tukinem Tuminah Warsih Wulandari Yatmi"),
			male:   latin("Bejo Gatot Harjo Joko Karto Legiman Ngadimin Paijo Parman Sarjono Slamet Sudarso Sukardi Suparno Tukiman Wagiman"),
		},
	}
}

// latin reads names without transliteration, one word each.
func latin(words string) []name {
	var names []name
	for _, w := range strings.Fields(words) {
		names = append(names, name{native: w}.complete())
	}
	return names
}

// bilingual reads "native Latin|…"; both halves have the same number of words.
func bilingual(list string) []name {
	var names []name
	for entry := range strings.SplitSeq(list, "|") {
		words := strings.Fields(entry)
		half := len(words) - strings.Count(entry, " ")/2 - 1
		if len(words) == 3 { // two native words that are written as one in Latin letters
			half = 2
		}
		names = append(names, name{native: strings.Join(words[:half], " "), latin: strings.Join(words[half:], " ")}.complete())
	}
	return names
}

// patronymic reads "given Given son Son|…": a given name and the father name made of it.
func patronymic(list string) []name {
	var names []name
	for entry := range strings.SplitSeq(list, "|") {
		w := strings.Fields(entry)
		names = append(names, name{native: w[0], latin: w[1], fatherNative: w[2], fatherLatin: w[3], daughterNative: w[2] + "а", daughterLatin: w[3] + "a"})
	}
	return names
}

// gendered reads family names to which women add an ending.
func gendered(list string) []name {
	names := bilingual(list)
	for i, n := range names {
		names[i].daughterNative, names[i].daughterLatin = n.native+"а", n.latin+"a"
	}
	return names
}

// complete fills the father name of a tradition that has no form of its own for it.
func (n name) complete() name {
	n.fatherNative, n.fatherLatin = n.native, n.latin
	return n
}
